"""A port of this machine that leads to a builder through Session Manager, as long as a process of its plugin runs."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_ops.failures import NO_PLUGIN, ToolError

DOCUMENT = "AWS-StartPortForwardingSession"
"""Forwards one port of the instance itself, and gives no shell."""

BUILDKIT_PORT = 1234
"""Where buildkitd listens on a builder."""

_PLUGIN = "session-manager-plugin"
_NEWEST_THAT_SHOWS_THE_TOKEN = (1, 2, 497, 0)
_RESPONSE = "AWS_SSM_START_SESSION_RESPONSE"
_PATIENCE_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class PortForward:
    """A forwarded port.

    Args:
        instance: The builder's.
        session: Session Manager's id.
        port: The port, on 127.0.0.1.
        process: The plugin's process.
        started: When that began, in the words of `ps`: another process may get its number later.
    """

    instance: str
    session: str
    port: int
    process: int
    started: str

    @property
    def endpoint(self) -> str:
        """Where the builder is reached."""
        return f"tcp://127.0.0.1:{self.port}"

    def end(self) -> None:
        """End the process, if it still is the one that was started."""
        if not self._runs():
            return
        for number, seconds in ((signal.SIGTERM, _PATIENCE_SECONDS), (signal.SIGKILL, _PATIENCE_SECONDS)):
            with suppress(ProcessLookupError):
                os.kill(self.process, number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if not self._runs():
                    return
                time.sleep(0.05)

    def _runs(self) -> bool:
        with suppress(ChildProcessError):
            os.waitpid(self.process, os.WNOHANG)  # where it is this process's own
        return _start_of(self.process) == self.started


def check_plugin() -> None:
    """Refuse a machine without Session Manager's plugin, or with one to which the session's token must be shown.

    What stands on a command line every user of the machine can read.

    Raises:
        ToolError: It is not there, or too old.
    """
    try:
        said = subprocess.run([_PLUGIN, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it ended with code {error.returncode}"
        raise ToolError(NO_PLUGIN, reason=reason) from None
    version = tuple(map(int, re.findall(r"\d+", said)))
    if version <= _NEWEST_THAT_SHOWS_THE_TOKEN:
        raise ToolError(NO_PLUGIN, reason=f"it is {said}, which takes the session's token on its command line")


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def request(instance: str, port: int) -> dict[str, Any]:
    """Return what StartSession is asked, so that a port of this machine leads to an instance's buildkitd."""
    return {
        "Target": instance,
        "DocumentName": DOCUMENT,
        "Parameters": {"portNumber": [str(BUILDKIT_PORT)], "localPortNumber": [str(port)]},
    }


def start(
    asked: Mapping[str, Any],
    answer: Mapping[str, str],
    *,
    region: str,
    profile: str | None,
    endpoint_url: str,
    log: Path,
) -> PortForward:
    """Start the plugin, as the AWS CLI does, so that it outlives this process.

    Args:
        asked: What StartSession was asked.
        answer: `SessionId`, `TokenValue` and `StreamUrl`.
        region: The region.
        profile: The profile of AWS. None: the environment's.
        endpoint_url: Where Systems Manager was asked.
        log: The file for what the plugin says.

    Raises:
        ToolError: It cannot be run.
    """
    kept = {name: answer[name] for name in ("SessionId", "TokenValue", "StreamUrl")}
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as said:  # noqa: PTH123 - of a descriptor
        try:
            process = subprocess.Popen(
                [_PLUGIN, _RESPONSE, region, "StartSession", profile or "", json.dumps(asked), endpoint_url],
                env={**os.environ, _RESPONSE: json.dumps(kept)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(NO_PLUGIN, reason=error.strerror) from None
    return PortForward(
        instance=asked["Target"],
        session=answer["SessionId"],
        port=int(asked["Parameters"]["localPortNumber"][0]),
        process=process.pid,
        started=_start_of(process.pid),
    )


def _start_of(process: int) -> str:
    """Return when a process began; empty: it is gone."""
    said = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(process)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(maxsplit=1)
    return "" if not said or said[0].startswith("Z") else said[1].strip()
