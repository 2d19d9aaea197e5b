"""The calls of buildx: a builder with a node for each architecture, and whether it is reached."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from buildkit_ops.architecture import Architecture
from buildkit_ops.failures import BUILDER_EXISTS, BUILDX_FAILED, NO_BUILDX, ToolError

_COMMANDS = (("docker", "buildx"), ("buildx",))
_PATIENCE_SECONDS = 120
_VERSION = re.compile(r"^BuildKit version:\s*(\S+)$", re.MULTILINE)


class Buildx:
    """The buildx of this machine.

    Args:
        command: How it is called.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    @classmethod
    def find(cls) -> Self:
        """Return Docker's plugin, or buildx by itself.

        Raises:
            ToolError: Neither runs.
        """
        reasons = []
        for command in _COMMANDS:
            buildx = cls(command)
            try:
                buildx._run("version")
            except ToolError as error:
                reasons.append(str(error))
            else:
                return buildx
        raise ToolError(NO_BUILDX, reason=" ".join(reasons))

    def create(
        self, builder: str, endpoints: Mapping[Architecture, str], *, server_name: str, certificate: Path
    ) -> None:
        """Make a builder with a node for each architecture.

        Raises:
            ToolError: There is one of that name, or buildx failed.
        """
        options = {
            "cacert": certificate / "ca.crt",
            "cert": certificate / "tls.crt",
            "key": certificate / "tls.key",
            "servername": server_name,
        }
        driver = ",".join(f"{name}={value}" for name, value in options.items())
        for number, (architecture, endpoint) in enumerate(endpoints.items()):
            try:
                self._run(
                    *("create", "--name", builder, "--node", node_name(builder, architecture)),
                    *(("--append",) if number else ()),
                    *("--driver", "remote", "--driver-opt", driver, "--platform", architecture.platform, endpoint),
                )
            except ToolError as error:
                if not number and "existing instance" in str(error):
                    raise ToolError(BUILDER_EXISTS, builder=builder) from None
                if number:
                    self.remove(builder)
                raise

    def versions(self, builder: str, architectures: Sequence[Architecture]) -> dict[Architecture, str]:
        """Call the daemon behind every node, and return the BuildKit that each runs.

        Raises:
            ToolError: One was not reached.
        """
        said = self._run("inspect", "--bootstrap", builder)
        versions = {}
        for architecture in architectures:
            _, _, after = f"{said}\n\n".partition(f"{node_name(builder, architecture)}\n")
            node, _, _ = after.partition("\n\n")
            found = _VERSION.search(node)
            if not found:
                raise ToolError(
                    BUILDX_FAILED, command=self._words("inspect", builder), reason=_last_words(node or said)
                )
            versions[architecture] = found[1]
        return versions

    def use(self, builder: str) -> None:
        """Make a builder the default.

        Raises:
            ToolError: buildx failed.
        """
        self._run("use", builder)

    def remove(self, builder: str) -> None:
        """Remove a builder from this machine; its daemons stay what they are. One that is not there is no failure.

        Raises:
            ToolError: buildx failed.
        """
        try:
            self._run("rm", "--keep-daemon", builder)
        except ToolError as error:
            if "no builder" not in str(error):
                raise

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, *arguments], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = "it did not end" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
            raise ToolError(BUILDX_FAILED, command=self._words(*arguments[:1]), reason=reason) from None
        if done.returncode:
            raise ToolError(BUILDX_FAILED, command=self._words(*arguments[:1]), reason=_last_words(done.stderr))
        return done.stdout

    def _words(self, *arguments: str) -> str:
        return " ".join((*self._command, *arguments))


def node_name(builder: str, architecture: Architecture) -> str:
    """Return the name of a builder's node for an architecture."""
    return f"{builder}-{architecture.kubernetes_name}"


def _last_words(said: str) -> str:
    return " ".join(said.strip().splitlines()[-3:]) or "it said nothing"
