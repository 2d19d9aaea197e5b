"""What the host agent decides: whether the builder takes new builds, and whether it is idle. No input or output.

Runs on the builder with the AMI's own Python 3.9.
"""

from __future__ import annotations

from typing import NamedTuple


class Health(NamedTuple):
    """The answer to the load balancer, and why."""

    takes_builds: bool
    words: str


class Condition(NamedTuple):
    """What the builder is like at one moment.

    `cause_of_drain` is as `drain_rules` has it; `answers` says whether buildkitd does; `withdrawn` whether the builder
    looks if it may retire.
    """

    cause_of_drain: str | None
    answers: bool
    withdrawn: bool
    builds: int


def health(condition: Condition, max_builds: int) -> Health:
    """Tell whether the builder takes new builds. Those that it has go on either way."""
    if condition.cause_of_drain is not None:
        return Health(takes_builds=False, words=f"draining: {condition.cause_of_drain}")
    if not condition.answers:
        return Health(takes_builds=False, words="buildkitd does not answer")
    if condition.withdrawn:
        return Health(takes_builds=False, words="idle: about to retire")
    running = f"{condition.builds} builds of at most {max_builds}"
    return Health(takes_builds=condition.builds < max_builds, words=running)


class Idleness:
    """Keeps since when a builder has had no build.

    Args:
        now: The time of the start, in seconds of any steady clock.
    """

    def __init__(self, now: float) -> None:
        self._since = now

    def look(self, now: float, *, busy: bool) -> float:
        """Take a look into account, and return for how many seconds the builder has been idle."""
        if busy:
            self._since = now
        return now - self._since
