"""The journal of a builder: the machine's own systemd-journald, run inside the builder's namespaces.

The host files read it with the machine's own `journalctl`, as they do on an instance.
"""

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROGRAM = "systemd-journald"
_DIRECTORIES = "/usr/lib/systemd:/lib/systemd"
_STREAMS = Path("/run/systemd/journal/stdout")
_SETTINGS = Path("/run/systemd/journald.conf.d/builder.conf")
_MACHINE_ID = Path("/etc/machine-id")
_PATIENCE_SECONDS = 10
_NOTIFICATION_SECONDS = 0.5
"""journald tells who follows it of new lines at most every quarter of a second."""


class JournalError(Exception):
    """The journal does not run; the message says why."""


class Journal:
    """A running journal, whose lines also appear on the console. Made once /run and /etc are the builder's own.

    Raises:
        JournalError: The machine has no systemd-journald, or it does not start.
    """

    def __init__(self) -> None:
        program = shutil.which(_PROGRAM, path=_DIRECTORIES)
        if not program:
            raise JournalError(f"{_PROGRAM} is missing; on Debian: apt-get install systemd")
        _SETTINGS.parent.mkdir(parents=True)
        # The kernel's messages are the machine's, not the builder's.
        _SETTINGS.write_text("[Journal]\nStorage=volatile\nReadKMsg=no\nForwardToSyslog=no\nForwardToWall=no\n")
        if not (_MACHINE_ID.exists() and _MACHINE_ID.read_text().strip()):
            _MACHINE_ID.write_text(f"{uuid.uuid4().hex}\n")
        journald = subprocess.Popen([program])
        until = time.monotonic() + _PATIENCE_SECONDS
        while not _STREAMS.exists():
            if journald.poll() is not None or time.monotonic() > until:
                raise JournalError(f"{program} did not start (code {journald.poll()})")
            time.sleep(0.01)
        subprocess.Popen(["journalctl", "--follow", "--no-tail", "--output=cat"])

    @contextmanager
    def stream(self, unit: str) -> Iterator[int]:
        """Yield a file descriptor for a unit's standard output: each line becomes an entry of the unit's.

        The protocol is the one of `sd_journal_stream_fd`, with the unit's name, which journald takes from root.
        """
        identifier, priority, has_prefixes, forwarded = unit.removesuffix(".service"), "6", "1", ("0", "0", "0")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.connect(str(_STREAMS))
            header = (identifier, unit, priority, has_prefixes, *forwarded)
            stream.sendall("".join(f"{line}\n" for line in header).encode())
            stream.shutdown(socket.SHUT_RD)
            yield stream.fileno()

    def end(self) -> None:
        """Let the last lines reach the console."""
        with suppress(OSError):
            subprocess.run(["journalctl", "--sync"], check=False)
        time.sleep(_NOTIFICATION_SECONDS)
