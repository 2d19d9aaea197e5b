"""What a simulated day came to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Outcome:
    """Counts and times of one policy on one trace. Times are seconds.

    Args:
        jobs: Builds that were asked for.
        completed: Those that ended well, in the end.
        refused: Those whose client gave up before it had a builder.
        lost: Builds that their builder did not outlive; their clients try again.
        waits: From a job's start to its build's start, of each build that had a builder.
        turnarounds: From a job's start to its build's end, of each that was completed.
        slowdowns: How many times as long as alone on the same builder each completed build took.
        warm: Builds that found their project's layers in the local store.
        peak_builders: The most builders at once, launching ones included.
        most_builds: The most builds on one builder at once.
        running_hours: Hours of running instances.
        volume_hours: Hours of instances that exist, stopped ones included.
    """

    jobs: int = 0
    completed: int = 0
    refused: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    turnarounds: list[float] = field(default_factory=list)
    slowdowns: list[float] = field(default_factory=list)
    warm: int = 0
    peak_builders: int = 0
    most_builds: int = 0
    running_hours: float = 0.0
    volume_hours: float = 0.0

    @property
    def warm_share(self) -> float:
        """The share of the builds that found their layers in the local store."""
        return self.warm / len(self.waits) if self.waits else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that the given share of all does not exceed; 0 of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
