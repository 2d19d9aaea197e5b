"""What is sent to CloudWatch Logs, and in which batches. No input or output.

Runs on the builder with the AMI's own Python 3.9, also before the host files are there: it travels in the user data.
Called with a unit's name, it turns lines on standard input into the events of `aws logs put-log-events`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Iterable, Iterator, Mapping, NamedTuple  # noqa: UP035 - collections.abc's are read by 3.11 alone

MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
BYTES_OF_AN_EVENT = 26
"""Limits of a batch, and what an event counts beside its message. A batch also spans 24 hours at most:
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html"""

LONGEST_SPAN_MILLISECONDS = 24 * 60 * 60 * 1000
LONGEST_LINE = 200_000
"""Bytes of one line of a log. An event of 256 KiB is taken everywhere, 1 MiB not yet."""

_CUT = " [cut]"


class Event(NamedTuple):
    """A log event: milliseconds since the epoch, and a JSON object."""

    timestamp: int
    message: str

    @property
    def size(self) -> int:
        """What it counts in a batch."""
        return len(self.message.encode()) + BYTES_OF_AN_EVENT


def event_of(line: str, *, unit: str, milliseconds: int, labels: Mapping[str, str]) -> Event | None:
    """Return the event for a line that a unit has printed; none for an empty one.

    A line that is a JSON object keeps its keys, so that filters find them; any other is the event's `message`.

    Args:
        line: What was printed.
        unit: By whom.
        milliseconds: When, since the epoch.
        labels: What else the event says.
    """
    if not line.strip():
        return None
    if len(line.encode()) > LONGEST_LINE:
        line = line.encode()[:LONGEST_LINE].decode(errors="ignore") + _CUT
    said = _object(line)
    return Event(milliseconds, json.dumps({**said, "unit": unit, **labels}, ensure_ascii=False))


def event_of_entry(entry: Mapping[str, Any], labels: Mapping[str, str]) -> Event | None:
    """Return the event for an entry of the journal, as `journalctl --output=json --all` prints it."""
    message = entry.get("MESSAGE", "")
    if isinstance(message, list):  # bytes that are no text
        message = bytes(message).decode(errors="replace")
    return event_of(
        str(message),
        # What the service manager says of a unit is under the unit too.
        unit=str(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT") or "").replace(".service", ""),
        milliseconds=int(entry["__REALTIME_TIMESTAMP"]) // 1000,
        labels=labels,
    )


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Put events into batches that CloudWatch Logs takes, each in the order of time.

    Args:
        events: In the order in which they were logged; a clock that was set may have made some earlier than the last.
    """
    batch: list[Event] = []
    size = 0
    for event in events:
        first = min((each.timestamp for each in batch), default=event.timestamp)
        last = max((each.timestamp for each in batch), default=event.timestamp)
        span = max(last, event.timestamp) - min(first, event.timestamp)
        if len(batch) == MOST_EVENTS or size + event.size > MOST_BYTES or span >= LONGEST_SPAN_MILLISECONDS:
            yield sorted(batch, key=lambda each: each.timestamp)
            batch, size = [], 0
        batch.append(event)
        size += event.size
    if batch:
        yield sorted(batch, key=lambda each: each.timestamp)


def as_json(batch: Iterable[Event]) -> str:
    """Write a batch as the command line tool reads it."""
    return json.dumps([event._asdict() for event in batch], ensure_ascii=False)


def labels_from(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what every event of a builder says of it: the dimensions of the metrics that are made of events."""
    return {"fleet": environment["FLEET"], "architecture": environment["ARCHITECTURE"]}


def _object(line: str) -> dict[str, Any]:
    if line.startswith("{"):
        try:
            said = json.loads(line)
        except ValueError:
            pass
        else:
            if isinstance(said, dict):
                return said
    return {"message": line}


def main() -> None:
    """Print the last lines of standard input as one batch of a unit's events."""
    now = int(time.time() * 1000)
    labels = labels_from(os.environ)
    lines = sys.stdin.buffer.read().decode(errors="replace").splitlines()
    found = [event_of(line, unit=sys.argv[1], milliseconds=now, labels=labels) for line in lines]
    last: list[Event] = []
    for batch in batches(event for event in found if event):
        last = batch
    print(as_json(last))  # noqa: T201 - for the command line tool


if __name__ == "__main__":
    main()
