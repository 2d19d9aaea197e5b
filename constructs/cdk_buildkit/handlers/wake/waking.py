"""How many builders waiting jobs call for, and what is done about it. The calls to AWS are elsewhere."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cdk_buildkit.handlers.group_lock import PATIENCE_SECONDS, LockedError, locked_words
from cdk_buildkit.handlers.waiting_jobs import Answer, count_builders


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What the builders of one architecture are at one moment.

    Args:
        desired: Builders that are wanted.
        maximum: Builders that there may be.
        serving: The builders that serve, by their instances' ids.
        problem: Why the last launch failed, or None.
    """

    desired: int
    maximum: int
    serving: tuple[str, ...] = ()
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
    return Capacity(desired=desired, maximum=capacity.maximum, serving=capacity.serving, problem=capacity.problem)


def _answer(waiting_jobs: int, wanted: int, capacity: Capacity) -> Answer:
    in_service = len(capacity.serving)
    coming = max(0, capacity.desired - in_service)
    return Answer(
        waiting_jobs=waiting_jobs,
        wanted=wanted,
        in_service=in_service,
        coming=coming,
        max_capacity=capacity.maximum,
        message=_message(wanted, coming, capacity),
        builders=capacity.serving,
    )


def _message(wanted: int, coming: int, capacity: Capacity) -> str:
    words = f"{count_builders(len(capacity.serving))} in service, {coming} coming"
    if wanted > capacity.maximum:
        words += f"; the waiting jobs call for {wanted}, and max_capacity is {capacity.maximum}"
    if coming and capacity.problem:
        words += f"; the last launch failed: {capacity.problem}"
    return words
