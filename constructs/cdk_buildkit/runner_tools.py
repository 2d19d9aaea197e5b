"""What a runner's image has beside the engine's own programs: buildx and the ECR credential helper, each pinned."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from cloudsnorkel import cdk_github_runners as engine

from buildkit_ops.architecture import Architecture

BUILDX_URL = "https://github.com/docker/buildx/releases/download/{version}/buildx-{version}.linux-{architecture}"
"""Where buildx is released."""

ECR_CREDENTIAL_HELPER_URL = (
    "https://amazon-ecr-credential-helper-releases.s3.us-east-2.amazonaws.com/"
    "{version}/linux-{architecture}/docker-credential-ecr-login"
)
"""Where the Amazon ECR credential helper is released."""

TARGETS = {
    # Docker looks here before it looks where its own packages put plugins:
    # https://github.com/docker/cli/blob/master/cli-plugins/manager/manager_unix.go
    "buildx": "/usr/local/lib/docker/cli-plugins/docker-buildx",
    "ecr_credential_helper": "/usr/local/bin/docker-credential-ecr-login",
}
"""Where each tool goes in the image."""

_FILES = Path(__file__).parent / "runner"


@dataclass(frozen=True, kw_only=True)
class PinnedTool:
    """One program for each architecture, fetched when a runner's image is built.

    Args:
        version: The release's name in the URL.
        url: Where it is, an https URL with `{architecture}` (`amd64`, `arm64`) and, usually, `{version}` in it. It is
            in the template for everybody to see: no user's name or password.
        sha256: Hexadecimal SHA-256 of each architecture's program.

    Raises:
        ValueError: The URL is not https, lacks its placeholder or has a user's name, or a sum is not 64 hexadecimal
            digits.
    """

    version: str
    url: str
    sha256: Mapping[Architecture, str]

    def __post_init__(self) -> None:
        if not self.url.startswith("https://") or "{architecture}" not in self.url:
            raise ValueError(
                f"a tool's URL begins with https:// and holds {{architecture}}; got {self.url!r}: put {{architecture}} "
                "where the program's name says amd64 or arm64"
            )
        if "@" in self.url.removeprefix("https://").partition("/")[0]:
            raise ValueError(
                "a tool's URL has no user's name, for the template shows it to everybody; got one: take a server that "
                "asks for none"
            )
        for architecture, value in self.sha256.items():
            if not re.fullmatch("[0-9a-f]{64}", value):
                raise ValueError(
                    f"the SHA-256 of the {architecture} program is 64 hexadecimal digits; got {value!r}: "
                    f"{how_to_find_sum(self.program_url(architecture))}"
                )

    def program_url(self, architecture: Architecture) -> str:
        """Where the architecture's program is."""
        return self.url.replace("{version}", self.version).replace("{architecture}", architecture.oci_name)


@dataclass(frozen=True, kw_only=True)
class RunnerTools:
    """What runners' images get. Neither has a default: whoever runs a program has looked at its release.

    Args:
        buildx: Docker's client of BuildKit.
        ecr_credential_helper: What docker asks for a registry's credentials, which come from the runner's role.
    """

    buildx: PinnedTool
    ecr_credential_helper: PinnedTool

    def check(self, architecture: Architecture) -> None:
        """Require a sum of every tool for an architecture.

        Raises:
            ValueError: One is missing.
        """
        for name in (field.name for field in fields(self)):
            tool: PinnedTool = getattr(self, name)
            if architecture not in tool.sha256:
                raise ValueError(
                    f"runners on {architecture} have tools with a SHA-256 for it; got none of {name}: "
                    f"{how_to_find_sum(tool.program_url(architecture))}"
                )


def how_to_find_sum(url: str) -> str:
    """Say how the sum of a program is found."""
    return f"look at its release, and take the sum that `curl -fsSL {url} | sha256sum` prints"


def tools_component(
    tools: RunnerTools, *, architecture: Architecture, registries: Sequence[str] = ()
) -> engine.RunnerImageComponent:
    """Make the part of an image that installs the tools, and lets docker use the helper for these registries.

    It takes no token: the engine tells by a hash of the commands whether an image must be built anew, and a token's
    text is another in every synth.
    """
    commands = []
    for name, target in TARGETS.items():
        tool: PinnedTool = getattr(tools, name)
        arguments = (tool.program_url(architecture), tool.sha256[architecture], target)
        commands.append(shlex.join(["bash", "/opt/install-tool.sh", *arguments]))
    if registries:
        configuration = json.dumps({"credHelpers": dict.fromkeys(sorted(registries), "ecr-login")})
        commands.append(shlex.join(["bash", "/opt/configure-docker.sh", configuration]))
    return engine.RunnerImageComponent.custom(
        name="BuildKit-Tools",
        assets=[
            engine.RunnerImageAsset(source=str(_FILES / name), target=f"/opt/{name}")
            for name in ("install-tool.sh", "configure-docker.sh")
        ],
        commands=commands,
    )
