"""How many builders waiting jobs call for, and what is done about it. The calls to AWS are elsewhere."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cdk_buildkit.handlers.group_lock import PATIENCE_SECONDS, LockedError, locked_words

MOST_WAITING_JOBS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What the builders of one architecture are at one moment.

    Args:
        desired: Builders that are wanted.
        maximum: Builders that there may be.
        in_service: Builders that serve.
        problem: Why the last launch failed, or None.
    """

    desired: int
    maximum: int
    in_service: int
    problem: str | None = None


class Group(Protocol):
    """An Auto Scaling group."""

    @property
    def name(self) -> str:
        """Its name."""

    def capacity(self) -> Capacity:
        """Return what it is like."""

    def set_desired(self, desired: int) -> None:
        """Let it have that many instances."""


class Lock(Protocol):
    """Keeps others from raising a group's desired capacity at the same time."""

    def take(self) -> int | None:
        """Take it, and return the desired capacity that was last set under it, lately; None: another has it."""

    def release(self, desired: int | None) -> None:
        """Give it back, with the desired capacity that the group has been given, None: it has been given none."""


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
    """

    waiting_jobs: int
    wanted: int
    in_service: int
    coming: int
    max_capacity: int
    message: str

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


def wake(
    group: Group,
    lock: Lock,
    *,
    waiting_jobs: int,
    builds_per_builder: float,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Answer:
    """Raise a group's desired capacity to what the waiting jobs call for; never lower it, nor above its maximum.

    Whoever calls again, or at the same time, with as many jobs or fewer changes nothing.

    Raises:
        LockedError: The lock was not to be had.
    """
    wanted = math.ceil(waiting_jobs / builds_per_builder)
    until = now() + PATIENCE_SECONDS
    while True:
        capacity = group.capacity()
        if capacity.desired >= min(wanted, capacity.maximum):
            return _answer(waiting_jobs, wanted, capacity)
        last = lock.take()
        if last is not None:
            return _answer(waiting_jobs, wanted, _raise(group, lock, wanted, last))
        if now() > until:
            raise LockedError(locked_words(group.name))
        sleep(random.uniform(0.05, 0.2))  # noqa: S311 - it protects nothing


def _raise(group: Group, lock: Lock, wanted: int, last: int) -> Capacity:
    given = None
    try:
        # Looked at again under the lock. What was last set under it counts too: the group may not show it yet.
        capacity = group.capacity()
        desired = max(capacity.desired, last)
        target = min(wanted, capacity.maximum)
        if target > desired:
            group.set_desired(target)
            desired = given = target
    finally:
        # What was not set now must not be remembered anew: a builder may have gone since, and callers ask all the time.
        lock.release(given)
    return Capacity(desired=desired, maximum=capacity.maximum, in_service=capacity.in_service, problem=capacity.problem)


def _answer(waiting_jobs: int, wanted: int, capacity: Capacity) -> Answer:
    coming = max(0, capacity.desired - capacity.in_service)
    return Answer(
        waiting_jobs=waiting_jobs,
        wanted=wanted,
        in_service=capacity.in_service,
        coming=coming,
        max_capacity=capacity.maximum,
        message=_message(wanted, coming, capacity),
    )


def _message(wanted: int, coming: int, capacity: Capacity) -> str:
    words = f"{_builders(capacity.in_service)} in service, {coming} coming"
    if wanted > capacity.maximum:
        words += f"; the waiting jobs call for {wanted}, and max_capacity is {capacity.maximum}"
    if coming and capacity.problem:
        words += f"; the last launch failed: {capacity.problem}"
    return words


def _builders(number: int) -> str:
    return f"{number} builder" if number == 1 else f"{number} builders"
