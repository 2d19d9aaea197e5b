"""The container images of builders that are pods, each pinned by its digest."""

import re
from dataclasses import dataclass, fields

EXAMPLE_IMAGES = {
    "buildkit": "docker.io/moby/buildkit:v0.31.2",
    "aws_cli": "public.ecr.aws/aws-cli/aws-cli:latest",
}
"""The images as their makers publish them, by which a digest is found."""

IMAGE_ALLOWED = "an image pinned by its digest, <repository>@sha256:<64 hexadecimal digits>"

_IMAGE = re.compile(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*@sha256:[0-9a-f]{64}")


def is_pinned(image: str) -> bool:
    """Tell whether an image is pinned by its digest."""
    return bool(_IMAGE.fullmatch(image))


def how_to_find_digest(example: str) -> str:
    """Say how the digest of an image is found: the one that is of all its architectures."""
    return f"take the digest that `docker buildx imagetools inspect {example}` prints, or your mirror's"


@dataclass(frozen=True, kw_only=True)
class BuilderImages:
    """What the pods run. Neither has a default: whoever runs an image has looked at it.

    Args:
        buildkit: BuildKit's own image for rootful builders, of every architecture in use.
        aws_cli: The AWS CLI's own image, version 2 on Amazon Linux 2023, of every architecture in use. It fetches the
            certificate and publishes metrics, and lends BuildKit's its Python.

    Raises:
        ValueError: One is not pinned by its digest.
    """

    buildkit: str
    aws_cli: str

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            image = getattr(self, name)
            if not is_pinned(image):
                raise ValueError(
                    f"{name} is {IMAGE_ALLOWED}; got {image!r}: {how_to_find_digest(EXAMPLE_IMAGES[name])}"
                )
