"""End an idle builder above the group's minimum, and never a busy one."""

from __future__ import annotations

import random
import time
from typing import Callable  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

from .agent_rules import Idleness
from .aws_command import CallError
from .fleet_calls import AtMinimumError, Fleet
from .log import log

LOOK_SECONDS = 0.5
"""Time between two looks at the builds: a build of the same sources again takes a second or two."""

ASKING_SECONDS = 5.0
"""Time between two questions to AWS."""

SIGHT_SECONDS = 60.0
"""How long to wait until the load balancer is seen to send nothing new: it makes two checks first."""

SPREAD = 0.1
"""By up to this share of it a builder waits longer than `idle_timeout`, so that a fleet does not withdraw as one."""


class Retirement:
    """Watches for the end of a builder's use.

    Between the decision and the end a build may come. So the builder first withdraws: it fails the load balancer's
    health check, waits until it is seen to get nothing new, and looks again. Where it is the only one, the load
    balancer has no other: it goes without withdrawing, since a minimum of one would keep it, and a builder that
    withdraws in vain would refuse builds for nothing. Either way a build that still slips in ends well, for what
    follows is the drain.

    Whether the group is above its minimum only Auto Scaling knows, at that moment: it refuses otherwise.

    Args:
        fleet: The builder's place.
        idle_timeout: Seconds without a build.
        count_builds: Counts the builds.
        is_draining: Tells whether the builder is already on its way out.
    """

    def __init__(
        self, fleet: Fleet, *, idle_timeout: float, count_builds: Callable[[], int], is_draining: Callable[[], bool]
    ) -> None:
        self._fleet = fleet
        self._idle_timeout = idle_timeout
        self._count_builds = count_builds
        self._is_draining = is_draining
        self.withdrawn = False

    def watch(self) -> None:
        """Retire whenever it is time; returns never, as a builder may be kept, or come back from the warm pool."""
        while True:
            self._wait_until_idle()
            if self.retire():
                # The drain takes over as soon as Auto Scaling has put it on its way, which may lead back here.
                self.withdrawn = True
                _wait(SIGHT_SECONDS, self._is_draining)
                while self._is_draining():
                    time.sleep(ASKING_SECONDS)
            self.withdrawn = False

    def _wait_until_idle(self) -> None:
        timeout = self._idle_timeout * random.uniform(1, 1 + SPREAD)  # noqa: S311 - it protects nothing
        idleness = Idleness(time.monotonic())
        while idleness.look(time.monotonic(), busy=self._is_busy()) < timeout:
            time.sleep(LOOK_SECONDS)

    def retire(self) -> bool:
        """Try to retire, and tell whether Auto Scaling has agreed."""
        try:
            others = set(self._fleet.healthy_targets()) - {self._fleet.instance_id}
            if others and not self._withdraw():
                return False
            if self._is_busy():
                return False
            self._fleet.retire()
        except AtMinimumError:
            log("kept_at_minimum")
            return False
        except CallError as error:
            log("call_failed", error=str(error))
            return False
        log("retired", idle_timeout=self._idle_timeout)
        return True

    def _withdraw(self) -> bool:
        self.withdrawn = True
        log("withdrawn")
        until = time.monotonic() + SIGHT_SECONDS
        while self._fleet.instance_id in self._fleet.healthy_targets():
            if time.monotonic() > until:
                log("not_seen_withdrawn", seconds=SIGHT_SECONDS)
                return False
            if _wait(ASKING_SECONDS, self._is_busy):
                log("busy_again")
                return False
        # What the load balancer's nodes had in hand arrives a moment later than its answer.
        if _wait(ASKING_SECONDS, self._is_busy):
            log("busy_again")
            return False
        return True

    def _is_busy(self) -> bool:
        return self._count_builds() > 0 or self._is_draining()


def _wait(seconds: float, happens: Callable[[], bool]) -> bool:
    """Wait for something, and tell whether it has happened."""
    until = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
    return True
