"""What buildkitd counts of itself, read from its Prometheus metrics. No input or output.

Its histogram of durations has no bucket but +Inf (measured, v0.31.2): how long builds took is in their records.
"""

from __future__ import annotations

import re
from typing import Iterator, Mapping, NamedTuple  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Counters(NamedTuple):
    """What a daemon has counted since it started.

    `started` is seconds since the epoch. Builds that a client took back are no failures. Steps are BuildKit's own
    steps too: loading the definition, sending the result. So even a build that changes nothing has some that are not
    cached.
    """

    started: float
    builds: int
    failed_builds: int
    steps: int
    cached_steps: int


def parse(text: str) -> Counters:
    """Read a page of Prometheus's text format.

    Raises:
        ValueError: It does not say when the process started: it is not of buildkitd.
    """
    started, builds, failed, steps, cached = None, 0.0, 0.0, 0.0, 0.0
    for name, labels, value in _samples(text):
        if name == "process_start_time_seconds":
            started = value
        elif name == "buildkit_builds_total":
            builds += value
            if labels.get("status") != "success" and labels.get("error_code") != "Canceled":
                failed += value
        elif name == "buildkit_builds_steps_total":
            steps += value if labels.get("kind") == "total" else 0
            cached += value if labels.get("kind") == "cached" else 0
    if started is None:
        raise ValueError(f"no process_start_time_seconds in {len(text)} characters of metrics")
    return Counters(started, int(builds), int(failed), int(steps), int(cached))


def growth(before: Counters | None, now: Counters, *, watched_since: float) -> dict[str, int]:
    """Return by how much each count has grown, by the names of the metrics; without what has not.

    Args:
        before: The last look; None: there was none.
        now: This look.
        watched_since: When looking began. What an older daemon counted before the first look is not known to be new.
    """
    if before is None:
        base = now if now.started < watched_since else _nothing(now)
    else:
        base = before if before.started == now.started else _nothing(now)  # another daemon counts from zero
    grown = {
        "Builds": now.builds - base.builds,
        "FailedBuilds": now.failed_builds - base.failed_builds,
        "Steps": now.steps - base.steps,
        "CachedSteps": now.cached_steps - base.cached_steps,
    }
    if not grown["Steps"]:
        grown.pop("CachedSteps")
        return {name: value for name, value in grown.items() if value}
    # A ratio needs both.
    return {name: value for name, value in grown.items() if value or name == "CachedSteps"}


def _nothing(now: Counters) -> Counters:
    return Counters(now.started, 0, 0, 0, 0)


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match and not line.startswith("#"):
            yield match["name"], dict(_LABEL.findall(match["labels"] or "")), float(match["value"])
