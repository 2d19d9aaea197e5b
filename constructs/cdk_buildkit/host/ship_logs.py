"""Send what the builder's units log to CloudWatch Logs: from where it was left off, until it is told to end.

The journal is the buffer. The place in it moves on only when CloudWatch Logs has taken what came before: what fails is
sent again, after a restart too. It may then be there twice, and never not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Iterator  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

from .aws_command import CallError, aws_with_input
from .instance_metadata import read_place
from .log import log
from .log_events import Event, batches, event_of_entry, labels_from

POLL_SECONDS = 5.0
"""How long a line waits for others to be sent with."""

FLUSH_SECONDS = 20.0
"""How long somebody who waits for the last lines may be kept waiting."""

LONGEST_POLL_SECONDS = 60.0
"""How long it waits while CloudWatch Logs does not answer."""

ENTRIES_AT_A_TIME = 5_000
"""After so many the place in the journal moves on."""

_UNITS = ("buildkitd.service", "builder-*.service")
_STATE = Path("/var/lib/cdk-buildkit")


class ShippingError(Exception):
    """The journal cannot be read, or CloudWatch Logs did not take it; the message says why."""


class Shipper:
    """What sends the journal, in this process or beside another one that does the same.

    Args:
        log_group: Where to.
        stream: The log stream in it. Made when it is not there.
        state: The directory that remembers the place in the journal.
    """

    def __init__(self, log_group: str, stream: str, state: Path = _STATE) -> None:
        self._log_group = log_group
        self._stream = stream
        self._state = state
        self._place = state / "journal-cursor"
        self._labels = labels_from(os.environ)
        state.mkdir(parents=True, exist_ok=True)

    def ship(self, patience: float) -> None:
        """Send everything that has been logged until now.

        Args:
            patience: Seconds to wait for another process that is at it.

        Raises:
            ShippingError: It was not all sent. The next call begins where this one failed.
        """
        with self._alone(patience):
            self._ship_journal()

    def _ship_journal(self) -> None:
        place = self._place.read_text() if self._place.exists() else ""
        after = [f"--after-cursor={place}"] if place else []
        subprocess.run(["journalctl", "--sync"], check=False)
        units = [f"--unit={unit}" for unit in _UNITS]
        command = ["journalctl", "--output=json", "--all", "--no-pager", "--quiet", *units, *after]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as journal:
            assert journal.stdout is not None  # noqa: S101 - it is a pipe
            while entries := [json.loads(line) for line in islice(journal.stdout, ENTRIES_AT_A_TIME)]:
                events = (event_of_entry(entry, self._labels) for entry in entries)
                for batch in batches(event for event in events if event):
                    self._put(batch)
                self._remember(entries[-1]["__CURSOR"])
            if journal.wait():
                raise ShippingError(f"journalctl ended with code {journal.returncode}")

    def _remember(self, place: str) -> None:
        new = self._place.with_suffix(".new")
        with new.open("w") as file:
            file.write(place)
            file.flush()
            os.fsync(file.fileno())  # a machine that is cut off must not find an empty one
        new.replace(self._place)

    def _put(self, batch: list[Event]) -> None:
        try:
            answer = self._call("put-log-events", logEvents=[event._asdict() for event in batch])
        except ShippingError as error:
            if "ResourceNotFoundException" not in str(error):
                raise
            self._call("create-log-stream")
            answer = self._call("put-log-events", logEvents=[event._asdict() for event in batch])
        rejected = json.loads(answer or "{}").get("rejectedLogEventsInfo")
        if rejected:
            # Too old for the log group, or of a clock that was wrong: they would never be taken.
            log("log_events_rejected", **rejected)

    def _call(self, operation: str, **parameters: object) -> str:
        place = {"logGroupName": self._log_group, "logStreamName": self._stream}
        try:
            return aws_with_input("logs", operation, {**place, **parameters})
        except CallError as error:
            raise ShippingError(str(error)) from error

    @contextmanager
    def _alone(self, patience: float) -> Iterator[None]:
        until = time.monotonic() + patience
        with (self._state / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise ShippingError(f"another process has been sending for {patience:g} s") from None
                    time.sleep(0.1)
            yield


def ship_now(instance_id: str) -> str | None:
    """Send what has been logged until now, within `FLUSH_SECONDS`, and return why it was not, if it was not.

    In a process of its own, which can be left behind: who calls this has builds to end.
    """
    command = [sys.executable, "-m", __name__, instance_id]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=FLUSH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"not sent in {FLUSH_SECONDS:g} s"
    return done.stderr.strip() or f"code {done.returncode}" if done.returncode else None


def main() -> None:
    """Send until SIGTERM, and then what is left; once, when the instance's id is given."""
    if sys.argv[1:]:
        try:
            Shipper(os.environ["LOG_GROUP"], sys.argv[1]).ship(FLUSH_SECONDS)
        except ShippingError as error:
            sys.exit(str(error))
        return
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    instance_id, _ = read_place()
    shipper = Shipper(os.environ["LOG_GROUP"], instance_id)
    pause = POLL_SECONDS
    while True:
        is_last = end.wait(pause)
        try:
            shipper.ship(FLUSH_SECONDS)
            pause = POLL_SECONDS
        except ShippingError as error:
            log("shipping_failed", error=str(error))
            pause = min(2 * pause, LONGEST_POLL_SECONDS)
        if is_last:
            return


if __name__ == "__main__":
    main()
