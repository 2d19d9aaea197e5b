"""What of a builder's logs is sent to CloudWatch Logs: events that filters can read, in batches that are taken."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_buildkit.host import log_events
from cdk_buildkit.host.log_events import (
    LONGEST_LINE,
    LONGEST_SPAN_MILLISECONDS,
    MOST_BYTES,
    MOST_EVENTS,
    Event,
    batches,
    event_of,
    event_of_entry,
)

LABELS = {"fleet": "main.buildkit.internal", "architecture": "arm64"}


def said(line: str) -> Any:  # noqa: ANN401 - JSON
    event = event_of(line, unit="buildkitd", milliseconds=1, labels=LABELS)
    assert event is not None
    return json.loads(event.message)


def test_a_line_of_text_is_a_message_with_its_unit_and_labels() -> None:
    assert said("level=info ümlaut") == {"message": "level=info ümlaut", "unit": "buildkitd", **LABELS}


def test_a_line_that_is_an_object_keeps_its_keys() -> None:
    assert said('{"event": "builds_lost", "builds": 2}') == {
        "event": "builds_lost",
        "builds": 2,
        "unit": "buildkitd",
        **LABELS,
    }


@pytest.mark.parametrize("line", ['{"event": ', "{}x", "[1]", '"text"', "{ no json }"])
def test_a_line_that_only_looks_like_an_object_is_a_message(line: str) -> None:
    assert said(line)["message"] == line


def test_no_line_can_say_that_it_is_of_another_fleet() -> None:
    assert said('{"fleet": "other", "unit": "builder-drain"}') == {"unit": "buildkitd", **LABELS}


def test_an_empty_line_is_no_event() -> None:
    assert event_of(" \t", unit="buildkitd", milliseconds=1, labels=LABELS) is None


def test_a_line_that_is_too_long_is_cut_and_says_so() -> None:
    message = said("ü" * LONGEST_LINE)["message"]

    assert message.endswith("ü [cut]")
    assert len(message.encode()) <= LONGEST_LINE + len(" [cut]")


def test_an_entry_of_the_journal_is_of_the_unit_that_printed_it() -> None:
    entry = {"MESSAGE": "hello", "_SYSTEMD_UNIT": "buildkitd.service", "__REALTIME_TIMESTAMP": "1795574485619325"}

    event = event_of_entry(entry, LABELS)

    assert event is not None
    assert event.timestamp == 1795574485619
    assert json.loads(event.message) == {"message": "hello", "unit": "buildkitd", **LABELS}


def test_what_systemd_says_of_a_unit_is_under_that_unit() -> None:
    entry = {"MESSAGE": "killed", "_SYSTEMD_UNIT": "init.scope", "UNIT": "buildkitd.service", "__REALTIME_TIMESTAMP": 1}

    event = event_of_entry(entry, LABELS)

    assert event is not None
    assert json.loads(event.message)["unit"] == "buildkitd"


def test_bytes_that_are_no_text_do_not_stop_the_rest() -> None:
    event = event_of_entry({"MESSAGE": [104, 105, 255], "__REALTIME_TIMESTAMP": 1}, LABELS)

    assert event is not None
    assert json.loads(event.message)["message"] == "hi\N{REPLACEMENT CHARACTER}"


TIMES = st.integers(0, 4 * LONGEST_SPAN_MILLISECONDS)
MESSAGES = st.sampled_from(["x", "x" * 150_000, "ü" * 90_000])


@given(st.lists(st.builds(Event, TIMES, MESSAGES), max_size=40))
def test_every_event_is_in_one_batch_and_every_batch_is_within_the_limits(events: list[Event]) -> None:
    made = list(batches(events))

    assert sorted(event for batch in made for event in batch) == sorted(events)
    for batch in made:
        times = [event.timestamp for event in batch]
        assert times == sorted(times)
        assert times[-1] - times[0] < LONGEST_SPAN_MILLISECONDS
        assert sum(len(event.message.encode()) + 26 for event in batch) <= MOST_BYTES


def test_no_batch_has_more_events_than_are_taken() -> None:
    assert list(map(len, batches([Event(1, "x")] * (2 * MOST_EVENTS + 1)))) == [MOST_EVENTS, MOST_EVENTS, 1]


def test_a_console_becomes_events_of_its_unit(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.write_bytes(b'one\n\n{"event": "boot_failed", "code": 1}\n\xff\n')

    done = subprocess.run(
        [sys.executable, log_events.__file__, "boot"],
        env={"FLEET": LABELS["fleet"], "ARCHITECTURE": LABELS["architecture"]},
        stdin=console.open("rb"),
        capture_output=True,
        check=True,
    )

    messages = [json.loads(event["message"]) for event in json.loads(done.stdout)]
    assert messages == [
        {"message": "one", "unit": "boot", **LABELS},
        {"event": "boot_failed", "code": 1, "unit": "boot", **LABELS},
        {"message": "\N{REPLACEMENT CHARACTER}", "unit": "boot", **LABELS},
    ]
