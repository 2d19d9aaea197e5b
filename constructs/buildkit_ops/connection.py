"""What is connected on this machine: for each builder a private directory with its certificate."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from buildkit_ops.architecture import Architecture
from buildkit_ops.failures import (
    BUILDER_NAME,
    NOT_CONNECTED,
    SEVERAL_CONNECTED,
    UNREADABLE_STATE,
    UNWRITABLE_STATE,
    ToolError,
)
from buildkit_ops.port_forward import PortForward

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_FILE = "connection.json"
_FORWARDS = "forwards.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a connection was made from, so that the fleet can be found and woken again.

    Args:
        stack: The fleet's stack.
        region: Its region.
        profile: The profile of AWS. None: the environment's.
        architectures: Those that are connected.
        in_cluster: Whether the services of the cluster are reached.
        through_ssm: Whether builders are reached through Session Manager.
    """

    stack: str
    region: str
    profile: str | None
    architectures: tuple[Architecture, ...]
    in_cluster: bool
    through_ssm: bool


class Connections:
    """Private directories, one for each builder, below one that is the user's own.

    Args:
        root: Where they are. Default: `cdk-buildkit` in `$XDG_STATE_HOME`, or in `~/.local/state`.
    """

    def __init__(self, root: Path | None = None) -> None:
        state = os.environ.get("XDG_STATE_HOME")
        self.root = root or (Path(state) if state else Path.home() / ".local" / "state") / "cdk-buildkit"

    def names(self) -> list[str]:
        """Return the builders that are connected."""
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def choose(self, builder: str | None) -> str | None:
        """Return the builder that is meant: the given one, or the only one; None: there is none.

        Raises:
            ToolError: The given one is not connected while others are, or there are several to choose from.
        """
        names = self.names()
        if builder is not None and builder not in names:
            if names:
                raise ToolError(NOT_CONNECTED, builder=builder, connected=", ".join(names))
            return None
        if builder is None and len(names) > 1:
            raise ToolError(SEVERAL_CONNECTED, connected=", ".join(names))
        return builder or next(iter(names), None)

    def directory(self, builder: str) -> Path:
        """Return the directory that has a builder's certificate."""
        return self.root / builder

    def origin(self, builder: str) -> Origin:
        """Return what a builder that is connected was made from.

        Raises:
            ToolError: It is not readable.
        """
        path = self.directory(builder) / _FILE
        try:
            saved = json.loads(path.read_text())
            return Origin(**(saved | {"architectures": tuple(map(Architecture, saved["architectures"]))}))
        except (OSError, ValueError, TypeError, KeyError):
            raise ToolError(UNREADABLE_STATE, path=path) from None

    def forwards(self, builder: str) -> dict[Architecture, PortForward]:
        """Return the ports that are forwarded for a builder.

        Raises:
            ToolError: That is not readable.
        """
        path = self.directory(builder) / _FORWARDS
        try:
            saved = json.loads(path.read_text()) if path.exists() else {}
            return {Architecture(each): PortForward(**forward) for each, forward in saved.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            raise ToolError(UNREADABLE_STATE, path=path) from None

    def keep_forwards(self, builder: str, forwards: Mapping[Architecture, PortForward]) -> None:
        """Remember the ports that are forwarded for a builder."""
        path = self.directory(builder) / _FORWARDS
        path.touch(mode=0o600)
        path.write_text(json.dumps({each: asdict(forward) for each, forward in forwards.items()}))

    def add(self, builder: str, origin: Origin, certificate: Mapping[str, str]) -> Path:
        """Write a certificate into a directory that only its owner can enter, and return the directory.

        Raises:
            ToolError: The name is none, or the directory cannot be written.
        """
        check_builder_name(builder)
        directory = self.directory(builder)
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.mkdir(mode=0o700)
            for name, text in {**certificate, _FILE: json.dumps(asdict(origin))}.items():
                with open(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - of a descriptor
                    file.write(text)
        except OSError as error:
            raise ToolError(UNWRITABLE_STATE, path=directory, reason=error.strerror) from None
        return directory

    def remove(self, builder: str) -> None:
        """Remove a builder's directory, with its certificate."""
        shutil.rmtree(self.directory(builder), ignore_errors=True)


def check_builder_name(builder: str) -> None:
    """Refuse what is no name for a builder of buildx.

    Raises:
        ToolError: It is none.
    """
    if not _NAME.fullmatch(builder):
        raise ToolError(BUILDER_NAME, given=builder)
