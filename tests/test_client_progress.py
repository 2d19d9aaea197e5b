"""What the tool shows while it works: a line that changes on a terminal, plain lines in a pipeline's log."""

import os
import pty
import subprocess
import sys

WORK = """
import time
from buildkit_ops.progress import progress
with progress() as tell:
    for words in ("describing [the] stack", "arm64: 0 builders", "arm64: 0 builders", "arm64: 1 builder"):
        tell(words)
        time.sleep(0.3)
"""


def test_a_log_gets_a_line_for_every_change_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)

    assert done.stdout == ""
    assert done.stderr.splitlines() == ["describing [the] stack", "arm64: 0 builders", "arm64: 1 builder"]


def test_a_terminal_gets_one_line_that_is_gone_at_the_end() -> None:
    ours, its = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", WORK], stderr=its, env={**os.environ, "TERM": "xterm"}):
        os.close(its)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)

    assert b"describing [the] stack" in said
    assert b"arm64: 1 builder" in said
    assert said.endswith(b"\x1b[2K")  # erases the line


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
