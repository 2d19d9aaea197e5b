"""What a draining builder decides: why to leave, how long to wait, how many builds are running. No input or output.

Runs on the builder with the AMI's own Python 3.9.
"""

from __future__ import annotations

import calendar
import json
import time
from typing import Iterable, NamedTuple, Sequence  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

LAST_LOOK_SECONDS = 5.0
"""How long before a spot instance is taken its running builds are counted: later, nobody may be there to count."""

_ESTABLISHED = "01"
_LEFT = {"draining", "unused"}


class Interruption(NamedTuple):
    """A spot instance's end: `action` is `terminate`, `stop` or `hibernate`; `at` is seconds since the epoch."""

    action: str
    at: float


class Signs(NamedTuple):
    """What the metadata service says of the instance's future.

    `target_state` is Auto Scaling's target lifecycle state, None outside a group; `interruption` is None until a spot
    instance gets its two minutes' notice.
    """

    target_state: str | None
    interruption: Interruption | None


def parse_interruption(instance_action: str | None) -> Interruption | None:
    """Read `spot/instance-action`.

    Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html

    Raises:
        ValueError: It is not what AWS documents.
    """
    if instance_action is None:
        return None
    try:
        notice = json.loads(instance_action)
        return Interruption(notice["action"], calendar.timegm(time.strptime(notice["time"], "%Y-%m-%dT%H:%M:%SZ")))
    except (KeyError, TypeError) as error:
        raise ValueError(f"spot/instance-action has an action and a time; got {instance_action!r}") from error


def leaves_group(target_state: str | None) -> bool:
    """Tell whether the terminating hook waits for this instance: it is to end, or to go back to the warm pool.

    Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
    """
    return ends(target_state) or (target_state is not None and target_state.startswith("Warmed:"))


def ends(target_state: str | None) -> bool:
    """Tell whether Auto Scaling ends this instance for good."""
    return target_state == "Terminated"


def cause_of_drain(signs: Signs) -> str | None:
    """Return why the builder has to drain, for the log, or None.

    A rebalance recommendation is no cause: the group launches a replacement for it and then ends this instance
    through the hook. Draining earlier would leave a fleet of one without a builder.
    """
    if leaves_group(signs.target_state):
        return signs.target_state
    if signs.interruption is not None:
        return f"spot:{signs.interruption.action}"
    return None


def has_left(states: Sequence[str]) -> bool:
    """Tell by the states in which a target group lists the builder whether it sends no new connections there."""
    return all(state in _LEFT for state in states)


def settling_seconds(wanted: float, interruption: Interruption | None, now: float) -> float:
    """Return how long to go on serving after deregistration: as long as wanted, where the instance lives that long."""
    if interruption is None:
        return wanted
    return max(0.0, min(wanted, interruption.at - LAST_LOOK_SECONDS - now))


def is_last_look(interruption: Interruption | None, now: float) -> bool:
    """Tell whether a spot instance is about to be taken."""
    return interruption is not None and now >= interruption.at - LAST_LOOK_SECONDS


def count_connections(tables: Iterable[str], port: int) -> int:
    """Count established connections to a local port: one is one build.

    Args:
        tables: The texts of `/proc/net/tcp` and `/proc/net/tcp6`.
        port: The port that buildkitd listens on.
    """
    ending = f":{port:04X}"
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return sum(row[1].endswith(ending) and row[3] == _ESTABLISHED for row in rows)


def retry_seconds(attempt: int) -> float:
    """Return how long to wait after a failed attempt, the first being 1: doubling from one second to half a minute."""
    return min(30.0, 2.0 ** (attempt - 1))
