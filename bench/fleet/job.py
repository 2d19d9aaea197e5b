"""A build that somebody asks for: when, of what, and how long it takes on a builder of its own."""

import enum
from dataclasses import dataclass


class Change(enum.Enum):
    """What changed since the last build of the project, with the seconds that the build then takes.

    Measured on two cores with BuildKit v0.32.2, a Next.js application of 1,218 packages (carbon-app/carbon) and a cache
    in S3 with `mode=max`; `cold` on a builder that never built the project, `warm` on one that has its store. Middles
    of the ranges that were seen.
    """

    UNCHANGED = ("unchanged", 6.6, 1.6)
    """Cold: with 30 ms and 80 MB/s a connection, as S3 has them; 2.1 without."""
    LAST_STAGE = ("last stage", 13.5, 2.25)
    """13 to 14, of which 7 unpack layers; 2.1 to 2.4."""
    SOURCE = ("source", 97.0, 85.75)
    """94 to 100. Warm is not measured: cold less what a warm store saves above, 11.25."""
    DEPENDENCIES = ("dependencies", 146.0, 146.0)
    """Nothing comes from a cache."""

    def __init__(self, label: str, cold: float, warm: float) -> None:
        self.label = label
        self.cold = cold
        self.warm = warm


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One build.

    Args:
        at: When its client asks for it, in seconds from midnight.
        project: What it builds: builders keep the layers of a project.
        change: What changed.
        scale: How many times as long as the measured application it takes.
    """

    at: float
    project: int
    change: Change
    scale: float

    def seconds(self, *, warm: bool) -> float:
        """Return how long it takes alone on a builder that does, or does not, have the project's layers."""
        return self.scale * (self.change.warm if warm else self.change.cold)
