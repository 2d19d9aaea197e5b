"""Let every build end before its builder does: a daemon that watches for the builder's end and drains it.

It also watches that the builder serves: one that does not, at whatever boot, asks for its replacement.

One path for scale-in, instance refresh, maximum lifetime, spot interruption, rebalancing and the way back to a warm
pool. It keeps no state: started again in the middle of a drain, it finds from the metadata service and the unit where
it was. Every line that it prints is a JSON object, for metric filters.
"""

from __future__ import annotations

import enum
import os
import subprocess
import time
from typing import Callable  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

from . import drain_rules as rules
from .aws_command import CallError
from .builds import count_builds
from .fleet_calls import Fleet, NotWaitedForError
from .instance_metadata import MetadataError, read_place, read_signs
from .log import log
from .ship_logs import ship_now

POLL_SECONDS = 5.0
"""As AWS advises for interruption notices."""

SIGHT_SECONDS = 60.0
"""How long to try to leave the target group and to see it. AWS that does not answer must not keep builds waiting."""

LAUNCHING_ATTEMPTS = 8
"""How often a builder that serves says so, within two minutes: a good builder must not be replaced for a bad moment."""

STARTING_ATTEMPTS = 6
"""How often a builder that does not serve tries to, within half a minute or more, before it asks to be replaced."""

_UNIT = "buildkitd.service"


class Answer(enum.Enum):
    """What became of a call to a lifecycle hook."""

    ACCEPTED = enum.auto()
    NOT_WAITED_FOR = enum.auto()
    FAILED = enum.auto()


class Drain:
    """A builder's watch over its own end.

    Args:
        fleet: Its place.
        launching_hook: The hook that waits for a builder that serves.
        terminating_hook: The hook that waits for a builder whose builds have ended.
        heartbeat_seconds: Time between two heartbeats.
        settling: Seconds of serving after the target group has let the builder go.
    """

    def __init__(
        self, fleet: Fleet, *, launching_hook: str, terminating_hook: str, heartbeat_seconds: float, settling: float
    ) -> None:
        self._fleet = fleet
        self._launching_hook = launching_hook
        self._terminating_hook = terminating_hook
        self._heartbeat_seconds = heartbeat_seconds
        self._settling = settling
        self._next_heartbeat = 0.0
        self._signs = rules.Signs(None, None)
        self._last_count = 0  # of builds, when there were any: who is killed cannot be counted any more
        self._counted_losses = False

    def watch(self) -> None:
        """Serve, drain, and after a stay in the warm pool serve again; returns never."""
        while True:
            self._start_serving()
            while (cause := rules.cause_of_drain(self.look())) is None and _is_active():
                time.sleep(POLL_SECONDS)
            if cause is None:
                continue
            self._drain(cause)
            while rules.cause_of_drain(self.look()) is not None:
                time.sleep(POLL_SECONDS)

    def look(self) -> rules.Signs:
        """Return the signs of the builder's future; the last known ones while the metadata service does not answer."""
        try:
            self._signs = read_signs()
        except MetadataError as error:
            log("metadata_failed", error=str(error))
        return self._signs

    def _start_serving(self) -> None:
        attempt = 0
        while rules.cause_of_drain(self.look()) is None and _systemctl("start", _UNIT):
            attempt += 1
            log("does_not_serve", attempt=attempt)
            if attempt >= STARTING_ATTEMPTS:
                # User data runs at the first boot alone: at a later one nobody else tells that a unit has failed.
                self._ask_for_replacement()
            self._wait(rules.retry_seconds(attempt))
        if rules.cause_of_drain(self._signs) is not None:
            return
        # The hook waits for a new builder, and for one that leaves the warm pool; to all others the answer is no.
        for attempt in range(1, LAUNCHING_ATTEMPTS + 1):
            if self._answer(self._fleet.complete, self._launching_hook) is not Answer.FAILED:
                return
            self._wait(rules.retry_seconds(attempt))

    def _ask_for_replacement(self) -> None:
        if self._fleet.group is None:
            return
        try:
            self._fleet.ask_for_replacement()
        except CallError as error:
            log("call_failed", error=str(error))
        else:
            log("asked_for_replacement")

    def _drain(self, cause: str) -> None:
        started = time.monotonic()
        self._counted_losses = False
        self._last_count = count_builds()
        had_failed = _has_failed()
        log("drain_started", cause=cause, builds=self._last_count)
        if _is_active():
            self._leave_target_group()
            self._wait(rules.settling_seconds(self._settling, self._signs.interruption, time.time()))
        stop = subprocess.Popen(["systemctl", "stop", _UNIT])
        while stop.poll() is None:
            self._wait(1)
        if _has_failed() and not had_failed:
            # The unit's stop timeout, the longest build, has been met: systemd killed what was left.
            log("drain_timed_out", builds=self._last_count)
            self._count_losses("longest_build", self._last_count)
        log("drain_ended", cause=cause, seconds=round(time.monotonic() - started, 1))
        # The answer to the hook ends the instance: until then these lines are nowhere else.
        self._ship_logs()
        self._let_go()

    def _leave_target_group(self) -> None:
        until = time.monotonic() + SIGHT_SECONDS
        attempt = 0
        while time.monotonic() < until:
            try:
                self._fleet.deregister()
                if rules.has_left(self._fleet.target_states()):
                    log("deregistered")
                    return
            except CallError as error:
                log("call_failed", error=str(error))
            attempt += 1
            self._wait(rules.retry_seconds(attempt))
        log("not_seen_deregistered", seconds=SIGHT_SECONDS)

    def _let_go(self) -> None:
        # Auto Scaling may reach the hook only when the target group's delay is over, and refuses until then. A spot
        # instance may never reach it. The end of the instance, or of its stay in the pool, ends this.
        attempt = 0
        while rules.cause_of_drain(self.look()) is not None:
            for hook in self._hooks_that_may_wait():
                answer = self._answer(self._fleet.complete, hook)
                if answer is Answer.ACCEPTED or (answer is Answer.NOT_WAITED_FOR and self._powers_off()):
                    return
            attempt += 1
            self._wait(rules.retry_seconds(attempt))

    def _powers_off(self) -> bool:
        if not rules.ends(self._signs.target_state):
            return False
        # Nothing is left to wait for but the delay, and the instance would be paid for until it is over.
        log("powers_off")
        return _systemctl("poweroff") == 0

    def _hooks_that_may_wait(self) -> list[str]:
        if not rules.leaves_group(self._signs.target_state):
            return []
        if rules.ends(self._signs.target_state):
            return [self._terminating_hook]
        # Into the warm pool a builder comes through the one hook when it is new, through the other when it returns.
        return [self._terminating_hook, self._launching_hook]

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            self.look()
            builds = count_builds()
            self._last_count = builds or self._last_count
            if rules.is_last_look(self._signs.interruption, time.time()):
                self._count_losses("spot", builds)
            if rules.leaves_group(self._signs.target_state) and time.monotonic() >= self._next_heartbeat:
                self._next_heartbeat = time.monotonic() + self._heartbeat_seconds
                self._answer(self._fleet.heartbeat, self._terminating_hook)
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 1))

    def _count_losses(self, cause: str, builds: int) -> None:
        if builds and not self._counted_losses:
            self._counted_losses = True
            log("builds_lost", cause=cause, builds=builds)
            self._ship_logs()

    def _ship_logs(self) -> None:
        error = ship_now(self._fleet.instance_id)
        if error:
            log("shipping_failed", error=error)

    def _answer(self, call: Callable[[str], None], hook: str) -> Answer:
        if self._fleet.group is None:
            return Answer.NOT_WAITED_FOR
        try:
            call(hook)
        except NotWaitedForError:
            return Answer.NOT_WAITED_FOR
        except CallError as error:
            log("call_failed", error=str(error))
            return Answer.FAILED
        log("hook_answered", hook=hook, call=call.__name__)
        return Answer.ACCEPTED


def main() -> None:
    """Watch, with the settings of the environment file."""
    instance_id, group = read_place()
    Drain(
        Fleet(instance_id, os.environ["TARGET_GROUP"], group),
        launching_hook=os.environ["LAUNCHING_HOOK"],
        terminating_hook=os.environ["TERMINATING_HOOK"],
        heartbeat_seconds=float(os.environ["HEARTBEAT_SECONDS"]),
        settling=float(os.environ["SETTLING_SECONDS"]),
    ).watch()


def _is_active() -> bool:
    return _systemctl("is-active", "--quiet", _UNIT) == 0


def _has_failed() -> bool:
    return _systemctl("is-failed", "--quiet", _UNIT) == 0


def _systemctl(*arguments: str) -> int:
    return subprocess.run(["systemctl", *arguments], check=False).returncode


if __name__ == "__main__":
    main()
