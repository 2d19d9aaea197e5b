"""Runs a command as if it had been started itself, and keeps the end of what it says on standard error.

Its standard input and output are this process's own. What it writes to standard error passes through, byte by byte;
where that is a terminal the command gets one too, and where both outputs are the same they stay so, in order.
"""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from buildkit_ops.failures import NO_COMMAND, ToolError

KEPT_BYTES = 65536
"""How much of the end is kept."""

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a command.

    Args:
        exit_code: Its own; 128 and the signal's number where a signal ended it.
        said: The end of what it wrote to standard error, and to standard output where that is the same.
        signalled: Whether this process was told to end meanwhile, which was passed on.
    """

    exit_code: int
    said: str
    signalled: bool


def run(command: Sequence[str]) -> Ended:
    """Run a command to its end.

    Raises:
        ToolError: It cannot be run.
    """
    ours, its = _ends()
    with os.fdopen(ours, "rb", buffering=0), _passing_signals(ours) as signals:
        try:
            process = subprocess.Popen(command, stdout=its if _one_output() else None, stderr=its)
        except OSError as error:
            raise ToolError(NO_COMMAND, command=command[0], reason=error.strerror) from None
        finally:
            os.close(its)
        signals.start(process)
        said = b""
        while part := _read(ours):
            _write(part)
            said = (said + part)[-KEPT_BYTES:]
        exit_code = process.wait()
    return Ended(
        exit_code=exit_code if exit_code >= 0 else 128 - exit_code,
        said=said.decode(errors="replace"),
        signalled=bool(signals.received),
    )


def _ends() -> tuple[int, int]:
    """Return the end that is read here, and the command's: a pipe's, or a terminal's."""
    if not os.isatty(sys.stderr.fileno()):
        return os.pipe()
    ours, its = pty.openpty()
    tty.setraw(its)  # what is written is what is read
    _resize(ours)
    return ours, its


def _resize(terminal: int) -> None:
    size = struct.pack("HHHH", 0, 0, 0, 0)
    with suppress(OSError):
        size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, size)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def _one_output() -> bool:
    return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())


class _Signals:
    """Passes signals on to a command, those that came before it was there too."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        for number in self.received:
            process.send_signal(number)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        if self._process and (number != signal.SIGINT or not _in_foreground()):
            self._process.send_signal(number)


@contextmanager
def _passing_signals(terminal: int) -> Iterator[_Signals]:
    signals = _Signals()
    before = {number: signal.signal(number, signals.receive) for number in _PASSED_ON}
    before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: _resize(terminal))
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Tell whether a terminal's Ctrl-C reaches the command without us."""
    try:
        with open("/dev/tty") as terminal:  # noqa: PTH123 - a device
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:  # a terminal whose other end is closed
        return b""


def _write(part: bytes) -> None:
    while part:
        part = part[os.write(sys.stderr.fileno(), part) :]
