"""The network load balancer in front of a fleet: who gets the next connection."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import simpy

from bench.fleet.builder import Builder
from bench.fleet.timing import Timing


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A target group's health check.

    Args:
        interval: Seconds between two checks.
        healthy_threshold: Checks in a row that an unhealthy target must pass.
        unhealthy_threshold: Checks in a row that a healthy target must fail.
    """

    interval: float
    healthy_threshold: int
    unhealthy_threshold: int


@dataclass(kw_only=True)
class _Target:
    builder: Builder
    answer: bool = True
    """What the last checks said."""
    streak: int = 0
    healthy: bool = True
    """What connections follow."""


class LoadBalancer:
    """Sends each connection to any of the healthy targets, whatever they have to do.

    The target of a connection follows from a hash of its addresses, ports and sequence number
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/introduction.html): chance, as every connection of
    a client has another port. Without a healthy target it sends to all of them
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html).

    Args:
        env: The simulation.
        random: Where the hash falls.
        timing: How long targets take to join and to leave.
        health_check: Of the target group.
        passes: Whether a builder's answer to the health check is good.
    """

    def __init__(
        self,
        env: simpy.Environment,
        random: Random,
        *,
        timing: Timing,
        health_check: HealthCheck,
        passes: Callable[[Builder], bool],
    ) -> None:
        self._env = env
        self._random = random
        self._timing = timing
        self._health_check = health_check
        self._passes = passes
        self._targets: dict[Builder, _Target] = {}
        self._candidates: list[Builder] = []
        self.has_targets = env.event()
        """Happens when the first target joins; another event once the last has left."""
        env.process(self._check_health())

    def register(self, builder: Builder) -> None:
        """Take a builder in, which gets connections some time later."""
        self._after(self._timing.join, lambda: self.join(builder))

    def join(self, builder: Builder) -> None:
        """Send connections to a builder, if it is still there, from now on."""
        if not builder.leaving and builder.running_since is not None:
            self._targets[builder] = _Target(builder=builder)
            self._update()

    def deregister(self, builder: Builder) -> None:
        """Let a builder go, which gets connections for some time yet."""
        self._after(self._timing.leave, lambda: self.remove(builder))

    def remove(self, builder: Builder) -> None:
        """Send nothing to a builder any more."""
        self._targets.pop(builder, None)
        self._update()

    def route(self) -> Builder | None:
        """Return the builder that gets a new connection."""
        return self._random.choice(self._candidates) if self._candidates else None

    def _update(self) -> None:
        healthy = [each.builder for each in self._targets.values() if each.healthy]
        self._candidates = healthy or list(self._targets)
        if self._candidates and not self.has_targets.triggered:
            self.has_targets.succeed()
        if not self._candidates and self.has_targets.triggered:
            self.has_targets = self._env.event()

    def _check_health(self) -> simpy.events.ProcessGenerator:
        while True:
            yield self._env.timeout(self._health_check.interval)
            for target in list(self._targets.values()):
                self._check(target)

    def _check(self, target: _Target) -> None:
        answer = self._passes(target.builder)
        if answer == target.answer:
            target.streak = 0
            return
        target.streak += 1
        threshold = self._health_check.healthy_threshold if answer else self._health_check.unhealthy_threshold
        if target.streak >= threshold:
            target.answer, target.streak = answer, 0
            self._after(self._timing.health_spread, lambda: self._follow(target, healthy=answer))

    def _follow(self, target: _Target, *, healthy: bool) -> None:
        target.healthy = healthy
        self._update()

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self._env.timeout(seconds).callbacks.append(lambda _: do())
