"""The release: BuildKit's archives in the account, for every fleet."""

from collections.abc import Sequence

from aws_cdk import Stack
from constructs import Construct

from cdk_buildkit import Architecture, BuildKitRelease, ReleaseBucket
from stacks.config import BuildkitConfig


class ReleaseStack(Stack):
    """Gives the fleets `releases`."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: BuildkitConfig,
        architectures: Sequence[Architecture],
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self.releases = ReleaseBucket(
            self,
            "Releases",
            release=BuildKitRelease(version=config.version, url=config.url, sha256=config.sha256),
            architectures=architectures,
        )
