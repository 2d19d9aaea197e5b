"""What waking is asked and answers, whatever the builders run on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST_WAITING_JOBS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a call, for one architecture.

    Args:
        waiting_jobs: As given.
        wanted: Builders that so many jobs call for, whatever the group may have.
        in_service: Builders that are there.
        coming: Builders that are on their way.
        max_capacity: Builders that may be there.
        message: The same in words.
        builders: The ids of the instances that are builders in service. Empty where builders are no instances.
    """

    waiting_jobs: int
    wanted: int
    in_service: int
    coming: int
    max_capacity: int
    message: str
    builders: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as the caller gets it."""
        return asdict(self)


def read_waiting_jobs(event: Mapping[str, Any], architectures: Mapping[str, object]) -> dict[str, int]:
    """Return the waiting jobs that an event names, by architecture.

    Raises:
        ValueError: It names none, an architecture that the fleet has not, or a number that is none.
    """
    allowed = ", ".join(architectures)
    jobs = event.get("waiting_jobs")
    if set(event) != {"waiting_jobs"} or not isinstance(jobs, Mapping) or not jobs:
        raise ValueError(
            f"an event is a number of waiting jobs by architecture, of {allowed}; got {dict(event)!r}: call with "
            f'{{"waiting_jobs": {{"{next(iter(architectures))}": 1}}}}'
        )
    for architecture, number in jobs.items():
        if architecture not in architectures:
            raise ValueError(
                f"this fleet builds for {allowed}; got {architecture!r}: name one of these, or wake another fleet"
            )
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST_WAITING_JOBS:
            raise ValueError(
                f"waiting jobs are 1 to {MOST_WAITING_JOBS}; got {number!r} for {architecture}: give how many wait, or "
                "leave the architecture out"
            )
    return dict(jobs)


def count_builders(number: int) -> str:
    """Return a number of builders in words."""
    return f"{number} builder" if number == 1 else f"{number} builders"
