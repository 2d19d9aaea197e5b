"""A client's machine in the sandbox: the tool, real buildx, credentials of its own, and others it must not use."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from local.client import DECOY_ACCESS_KEY
from local.emulator.aws import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY, REGION
from local.lab import ARCHITECTURE, Lab

STACK = "buildkit-builders-main"
DECOYS = {
    "AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": "decoy-secret",
    "AWS_SESSION_TOKEN": "decoy-token",
    "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2",
}

OWN = ("--profile=client", f"--region={REGION}")
TOOL = str(Path(sys.executable).parent / "cdk-buildkit")

_numbers = itertools.count()

# What they say is said only when they run; a cached one that is fetched meanwhile does not always end in CACHED.
BUILT_STEPS = ("RUN echo built $((50 + 1)) | tee /built", "RUN echo built $((50 + 2)) | tee /again")
BUILT = ("built 51", "built 52")
"""What the steps of `Machine.build` say when they run."""


class Machine:
    """A client's machine: decoys in its environment, its own profile in a file, and fleets at their names."""

    def __init__(self, lab: Lab, directory: Path, base_image: list[str]) -> None:
        self.lab = lab
        self.directory = directory
        self._base_image = base_image
        profile = directory / "config"
        profile.write_text(
            f"[profile client]\nregion = {REGION}\naws_access_key_id = {OPERATOR_ACCESS_KEY}\n"
            f"aws_secret_access_key = {OPERATOR_SECRET_KEY}\n"
        )
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **DECOYS,
            "AWS_CONFIG_FILE": str(profile),
            "AWS_ENDPOINT_URL": lab.emulator.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "BUILDX_CONFIG": str(directory / "buildx"),
            "XDG_STATE_HOME": str(directory / "state"),
        }

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with a changed environment."""
        return subprocess.run(command, env=self._environment | environment, capture_output=True, text=True, check=False)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command, whose both outputs are one."""
        return subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def tool(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run the tool, and return its answer."""
        done = self.run(TOOL, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def connect(self) -> Any:  # noqa: ANN401 - JSON
        """Connect to the fleet."""
        return self.tool("connect", STACK, f"--architecture={ARCHITECTURE}", *OWN)

    def flags(self, branch: str) -> Any:  # noqa: ANN401 - JSON
        """Return the options of a branch's build."""
        wish = ("--project=team/app", f"--branch={branch}", "--default-branch=main")
        return self.tool("flags", STACK, *wish, f"--architecture={ARCHITECTURE}", *OWN)

    def build(self, arguments: list[str]) -> str:
        """Build, and return what buildx said."""
        done = self.run(*self.build_command(*BUILT_STEPS, arguments=arguments))
        assert done.returncode == 0, done.stderr
        return done.stderr

    def build_command(self, *steps: str, arguments: list[str]) -> list[str]:
        """Return a command that builds an image of these steps."""
        context = self.directory / f"context-{next(_numbers)}"
        context.mkdir()
        (context / "Dockerfile").write_text("\n".join(["FROM busybox", *steps, ""]))
        return [
            *("buildx", "build", "--builder=fleet", "--progress=plain", "--output=type=image,name=example"),
            *(f"--platform={ARCHITECTURE.platform}", *self._base_image, *arguments, str(context)),
        ]
