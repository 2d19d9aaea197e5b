"""Waking a fleet, and waiting until its builders are there, with the reason why one waits."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from buildkit_ops.failures import NO_BUILDER, ToolError

_INTERVAL_SECONDS = 5

Tell = Callable[[str], None]
"""Is told what one waits for."""


def wait_for_builders(
    wake: Callable[[], Mapping[str, Mapping[str, Any]]],
    *,
    minutes: float,
    tell: Tell,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Mapping[str, Mapping[str, Any]]:
    """Wake again and again, until a builder of each architecture is in service.

    Again, because the last builder may have been on its way out; waking is made for it.

    Args:
        wake: Calls the fleet's function, and returns its answer.
        minutes: How long.
        tell: Told the answer in words.
        sleep: Waits.
        now: The time, in seconds.

    Returns:
        The last answer, by architecture.

    Raises:
        ToolError: None came.
    """
    until = now() + minutes * 60
    while True:
        answers = wake()
        words = "; ".join(f"{architecture}: {answer['message']}" for architecture, answer in answers.items())
        tell(words)
        if all(answer["in_service"] > 0 for answer in answers.values()):
            return answers
        if now() >= until:
            raise ToolError(NO_BUILDER, minutes=minutes, reason=words)
        sleep(_INTERVAL_SECONDS)
