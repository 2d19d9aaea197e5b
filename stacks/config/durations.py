"""Durations as the file writes them: `90s`, `15m`, `1h`, `1h30m`."""

import re
from datetime import timedelta

from stacks.config.problems import RefusalError

SHORTEST_BUILD = timedelta(minutes=1)

LONGEST_BUILD = timedelta(hours=1)
"""The longest deregistration delay of a target group
(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html). A builder that
goes keeps its connections for that long; what becomes of them afterwards is not documented, so no longer build can be
promised its end. The other limits are wider: 360,000 s for an unhealthy target's draining interval, 48 h for a
lifecycle hook.
"""

_DURATION = re.compile(r"(?:(?P<hours>[0-9]{1,6})h)?(?:(?P<minutes>[0-9]{1,6})m)?(?:(?P<seconds>[0-9]{1,6})s)?")


def parse_longest_build(value: object) -> timedelta:
    """Read the longest build's duration.

    Raises:
        RefusalError: It is not written as whole hours, minutes and seconds, or is outside the bounds.
    """
    allowed = f'"{duration_text(SHORTEST_BUILD)}" to "{duration_text(LONGEST_BUILD)}"'
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or not match:
        mend = 'write whole hours, minutes and seconds, like "90s", "15m" or "1h"'
        raise RefusalError(value, allowed, mend)
    duration = timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()})
    if duration < SHORTEST_BUILD:
        raise RefusalError(value, allowed, "raise it")
    if duration > LONGEST_BUILD:
        raise RefusalError(value, allowed, "lower it, for a target group keeps no connection longer")
    return duration


def duration_text(duration: timedelta) -> str:
    """Write a duration of whole seconds as the file would: `1h30m`."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if number)
