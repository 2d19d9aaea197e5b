"""What a single value of the settings of Kubernetes must look like."""

import ipaddress
from collections.abc import Callable
from typing import Annotated

from cdk_buildkit import PodStore
from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS
from cdk_buildkit.builder_images import EXAMPLE_IMAGES, IMAGE_ALLOWED, how_to_find_digest, is_pinned
from cdk_buildkit.instance_types import instance_family_architecture
from stacks.config.problems import RefusalError
from stacks.config.values import CONSOLE, PARTITION, matching, one_of

_LINK_LOCAL = ipaddress.IPv4Network("169.254.0.0/16")


def check_private_block(value: str) -> None:
    """Require an IPv4 block of private addresses, the node's own services not among them."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise RefusalError(value, "a private IPv4 block", 'write for example "10.0.3.0/24"') from error
    if not network.is_private or network.overlaps(_LINK_LOCAL):
        raise RefusalError(
            value,
            f"a private IPv4 block outside {_LINK_LOCAL}, where the node's own services are",
            "take that of the registry or endpoint; the internet is open anyway",
        )


def pinned(example: str) -> Callable[[str], None]:
    """Require an image that is pinned by its digest."""

    def check(value: str) -> None:
        if not is_pinned(value):
            raise RefusalError(value, IMAGE_ALLOWED, how_to_find_digest(example))

    return check


def check_instance_family(value: str) -> None:
    """Require the name of an instance family that Linux runs on."""
    if not instance_family_architecture(value):
        raise RefusalError(value, "an instance family for Linux", "write it without a size, for example c7gd")


InstanceFamily = Annotated[str, check_instance_family]
Store = Annotated[str, one_of(*PodStore)]
KubernetesVersion = Annotated[str, one_of(*KUBERNETES_VERSIONS)]
BuildkitImage = Annotated[str, pinned(EXAMPLE_IMAGES["buildkit"])]
AwsCliImage = Annotated[str, pinned(EXAMPLE_IMAGES["aws_cli"])]
PrivateBlock = Annotated[str, check_private_block]
KedaVersion = Annotated[
    str, matching(r"[0-9]{1,4}(\.[0-9]{1,4}){2}", "a whole version", "write one that the chart's repository has")
]
ChartRepository = Annotated[
    str,
    matching(
        r"(https|oci)://[!-?A-~]{1,1000}",
        "a URL that begins with https:// or oci://, without a user's name",
        "write the repository's whole URL",
    ),
]
ImageRegistry = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._-]+)*",
        "a registry's name, with what comes before kedacore/",
        "write it without https:// and without a slash at its end",
    ),
]
ImageDigest = Annotated[
    str,
    matching(
        "sha256:[0-9a-f]{64}",
        "sha256: and 64 lower-case hexadecimal digits",
        "take what `docker buildx imagetools inspect` prints first",
    ),
]
GroupName = Annotated[
    str,
    matching(
        "(?!system:)[a-z0-9]([a-z0-9:._-]{0,62}[a-z0-9])?",
        "a group's name in Kubernetes, 1 to 64 lower-case characters, none of its own that begin with system:",
        "name one of your own, for example buildkit-main-builders",
    ),
]
ClusterName = Annotated[
    str,
    matching("[0-9A-Za-z][0-9A-Za-z_-]{0,99}", "a cluster's name, 1 to 100 letters, digits, hyphens, _", CONSOLE),
]
NamespaceName = Annotated[
    str,
    matching(
        "[a-z0-9]([a-z0-9-]{0,44}[a-z0-9])?",
        "a namespace's name, 1 to 46 lower-case letters, digits and hyphens, no hyphen at an end",
        "rename it, for example to buildkit-main",
    ),
]
PrincipalArn = Annotated[
    str,
    matching(
        rf"{PARTITION}:iam::[0-9]{{12}}:(role|user)/[\w+=,.@/-]{{1,512}}",
        "a role's or a user's ARN, arn:aws:iam::<account>:role/<name>",
        CONSOLE,
    ),
]
