"""The container images of builders that are pods, each pinned by its digest."""

import re
from dataclasses import dataclass

_IMAGE = re.compile(r"(?P<repository>[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*)(?::[\w.-]+)?@sha256:[0-9a-f]{64}")

BUILDKIT_REPOSITORY = "docker.io/moby/buildkit"
AWS_CLI_REPOSITORY = "public.ecr.aws/aws-cli/aws-cli"


def image_problem(image: str, example: str) -> tuple[str, str] | None:
    """Tell what an image must be and how to mend one that is not, or None.

    Args:
        image: The image's name.
        example: The name, with its tag, of the image as its maker publishes it.
    """
    if _IMAGE.fullmatch(image):
        return None
    return (
        "an image pinned by its digest, <repository>@sha256:<64 hexadecimal digits>",
        f"take the digest that `docker buildx imagetools inspect {example}` prints first, of all architectures",
    )


@dataclass(frozen=True, kw_only=True)
class BuilderImages:
    """What the pods run. Neither has a default: a digest is of one day, and whoever runs it has looked at it.

    Args:
        buildkit: BuildKit's own image for rootful builders, of every architecture in use.
        aws_cli: The AWS CLI's own image, version 2 on Amazon Linux 2023: it fetches the certificate and publishes
            metrics.

    Raises:
        ValueError: One is not pinned by its digest.
    """

    buildkit: str
    aws_cli: str

    def __post_init__(self) -> None:
        for name, image, example in (
            ("buildkit", self.buildkit, f"{BUILDKIT_REPOSITORY}:v0.31.2"),
            ("aws_cli", self.aws_cli, f"{AWS_CLI_REPOSITORY}:latest"),
        ):
            problem = image_problem(image, example)
            if problem:
                allowed, mend = problem
                raise ValueError(f"images.{name} is {allowed}; got {image!r}: {mend}")
