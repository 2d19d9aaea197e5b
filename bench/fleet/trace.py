"""The days that are simulated: when builds are asked for, and of what."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from bench.fleet.job import Change, Job

DAY = 86400.0

_FLAT = (1.0,) * 24
_OFFICE = (
    *(0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.1, 0.3, 0.8, 1.4, 1.8, 1.6),
    *(1.0, 1.3, 1.8, 1.9, 1.5, 0.9, 0.4, 0.2, 0.1, 0.1, 0.05, 0.05),
)
"""Relative rates by hour, two humps with a lunch between them."""
_AROUND_THE_WORLD = (
    *(0.5, 0.4, 0.4, 0.4, 0.5, 0.7, 0.9, 1.2, 1.5, 1.6, 1.6, 1.5),
    *(1.4, 1.6, 1.7, 1.6, 1.4, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5),
)
"""Likewise, of offices in several time zones: never silent."""

_PROJECT_SPREAD = 0.7
"""Standard deviation of the logarithm by which one project's builds differ from another's."""
_BUILD_SPREAD = 0.15
"""The same of two builds of one project."""

_EVERYDAY = {Change.UNCHANGED: 0.15, Change.LAST_STAGE: 0.3, Change.SOURCE: 0.5, Change.DEPENDENCIES: 0.05}
_MONOREPO = {Change.UNCHANGED: 0.4, Change.LAST_STAGE: 0.2, Change.SOURCE: 0.4}


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Builds that one push asks for at once.

    Args:
        at: When it begins.
        builds: How many they are.
        seconds: Within what time their clients start, evenly.
        projects: What is built, each as likely as the other.
        changes: The share of each change.
    """

    at: float
    builds: int
    seconds: float
    projects: int
    changes: Mapping[Change, float]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A day of builds: a Poisson process whose rate follows the hours, and bursts.

    The shapes, the shares and the spreads are assumptions: no public record of a fleet's builds is known to us.

    Args:
        name: How it is called on the command line.
        builds: Builds that are expected in the day, bursts apart.
        shape: The rate in each hour, relative to the others; straight lines lead from one to the next.
        projects: Projects, of which the n-th is built 1/n as often as the first.
        changes: The share of each change.
        bursts: What comes on top.
        max_capacity: Builders that its operator would allow. Default: what the template says.
    """

    name: str
    builds: int
    shape: Sequence[float] = _FLAT
    projects: int
    changes: Mapping[Change, float]
    bursts: Sequence[Burst] = ()
    max_capacity: int | None = None

    def jobs(self, seed: int) -> list[Job]:
        """Return the day's builds in order, the same for the same seed."""
        random = Random(f"{self.name} {seed}")  # noqa: S311 - a simulation is no secret
        scales = [math.exp(random.gauss(0, _PROJECT_SPREAD)) for _ in range(self.projects)]
        weights = list(accumulate(1 / rank for rank in range(1, self.projects + 1)))
        jobs = [
            _job(random, at, random.choices(range(self.projects), cum_weights=weights)[0], scales, self.changes)
            for at in self._arrivals(random)
        ]
        for burst in self.bursts:
            start = len(scales)
            scales += [math.exp(random.gauss(0, _PROJECT_SPREAD)) for _ in range(burst.projects)]
            jobs += [
                _job(
                    random,
                    burst.at + random.uniform(0, burst.seconds),
                    start + random.randrange(burst.projects),
                    scales,
                    burst.changes,
                )
                for _ in range(burst.builds)
            ]
        return sorted(jobs, key=lambda job: job.at)

    def rate(self, at: float) -> float:
        """Return the builds a second that are expected at a time."""
        hour, part = divmod(at / 3600, 1)
        before, after = self.shape[int(hour) % 24], self.shape[(int(hour) + 1) % 24]
        return (before + (after - before) * part) * self.builds / (sum(self.shape) * 3600)

    def _arrivals(self, random: Random) -> Iterator[float]:
        # Thinning: a process at the highest rate, of which each arrival stays with the probability of its own rate.
        highest = max(self.rate(hour * 3600) for hour in range(24))
        at = random.expovariate(highest)
        while at < DAY:
            if random.random() * highest < self.rate(at):
                yield at
            at += random.expovariate(highest)


def _job(random: Random, at: float, project: int, scales: Sequence[float], changes: Mapping[Change, float]) -> Job:
    return Job(
        at=at,
        project=project,
        change=random.choices(list(changes), weights=list(changes.values()))[0],
        scale=scales[project] * math.exp(random.gauss(0, _BUILD_SPREAD)),
    )


TRACES = (
    Trace(name="quiet-day", builds=40, shape=_OFFICE, projects=8, changes=_EVERYDAY),
    Trace(name="office-day", builds=1000, shape=_OFFICE, projects=40, changes=_EVERYDAY),
    Trace(
        name="monorepo-burst",
        builds=200,
        shape=_OFFICE,
        projects=20,
        changes=_EVERYDAY,
        bursts=[Burst(at=11 * 3600, builds=500, seconds=60, projects=50, changes=_MONOREPO)],
    ),
    Trace(
        name="100000-builds",
        builds=100_000,
        shape=_AROUND_THE_WORLD,
        projects=400,
        changes=_EVERYDAY,
        max_capacity=64,
    ),
)
