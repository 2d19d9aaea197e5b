"""The first process of a PID namespace: `python -m local.first_process COMMAND ...` runs it and buries orphans.

SIGTERM and SIGHUP are passed on; SIGINT from a terminal reaches the command by itself. When the command ends, so
does this process, with its exit code, and the kernel then kills every other process of the namespace.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence


def run_as_first_process(command: Sequence[str]) -> int:
    """Run a command as this namespace's only purpose, and return its exit code as a shell would."""
    child = subprocess.Popen(command, close_fds=False)  # what was inherited is for the command
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: child.send_signal(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            exit_code = os.waitstatus_to_exitcode(status)
            return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(run_as_first_process(sys.argv[1:]))
