"""The Auto Scaling group of a fleet: builders that come and go, and what they are paid for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import simpy

from bench.fleet.builder import Builder, Machine
from bench.fleet.load_balancer import LoadBalancer
from bench.fleet.timing import Timing


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A warm pool.

    Args:
        min_size: Stopped builders at the least.
        max_prepared_capacity: Builders in service and in the pool, at most.
        reuse_on_scale_in: Builders that leave the group go into it.
    """

    min_size: int
    max_prepared_capacity: int
    reuse_on_scale_in: bool


class AutoScalingGroup:
    """Keeps as many builders as desired: launches what is missing, and lets go what its owners tell it to.

    A builder that leaves passes the drain: deregistered, it serves until the load balancer has learnt of it, and ends
    its builds. Then it powers itself off, or is paid for until the target group's delay is over: the terminating hook
    comes only then (https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html).

    Args:
        env: The simulation.
        random: How boots differ.
        timing: How long they take.
        machine: What is launched.
        load_balancer: Where builders in service are found.
        min_capacity: Builders at the least.
        max_capacity: Builders at the most.
        settling: Seconds of serving after deregistration.
        release: Seconds after deregistration at which the group lets a drained builder go, at the earliest.
        ends_itself: A drained builder that does not go into the warm pool does not wait for it.
        pool: The warm pool. Default: none.
        until: When the bill ends.
        on_interruption: Is given a builder that spot capacity takes back, when its notice is over.
        spot_interruptions: Of one builder, an hour.
    """

    def __init__(
        self,
        env: simpy.Environment,
        random: Random,
        *,
        timing: Timing,
        machine: Machine,
        load_balancer: LoadBalancer,
        min_capacity: int,
        max_capacity: int,
        settling: float,
        release: float,
        ends_itself: bool,
        pool: Pool | None,
        until: float,
        on_interruption: Callable[[Builder], None],
        spot_interruptions: float,
    ) -> None:
        self._env = env
        self._random = random
        self._timing = timing
        self._machine = machine
        self._load_balancer = load_balancer
        self.min_capacity = min_capacity
        self.max_capacity = max_capacity
        self._settling = settling
        self._release = release
        self._ends_itself = ends_itself
        self._pool = pool
        self._until = until
        self._on_interruption = on_interruption
        self._spot_interruptions = spot_interruptions
        self.desired = 0
        self.builders: list[Builder] = []
        """Launching or in service: what counts towards the desired capacity."""
        self.stopped: list[Builder] = []
        """In the warm pool."""
        self.everyone: list[Builder] = []
        self.peak = 0
        self.running_seconds = 0.0
        self.volume_seconds = 0.0
        self._launched: dict[Builder, float] = {}
        for _ in range(min_capacity):
            self._add_serving()
        self.set_desired(min_capacity)
        self._fill_pool()

    def in_service(self) -> list[Builder]:
        """Return the builders in service."""
        return [each for each in self.builders if each.in_service_since is not None]

    def set_desired(self, desired: int) -> None:
        """Change the desired capacity, within the bounds, and launch what is missing."""
        self.desired = max(self.min_capacity, min(self.max_capacity, desired))
        while len(self.builders) < self.desired:
            self._launch()
        self.peak = max(self.peak, len(self.builders))

    def terminate(self, builder: Builder, *, decrement: bool) -> None:
        """Let a builder go: TerminateInstanceInAutoScalingGroup."""
        self.builders.remove(builder)
        builder.leaving = True
        self._load_balancer.deregister(builder)
        self._env.process(self._drain(builder))
        self.set_desired(self.desired - 1 if decrement else self.desired)

    def settle_bill(self) -> None:
        """Count what still runs when the bill ends."""
        for builder in self.everyone:
            self._end_running(builder)
            self._end_volume(builder)

    def _add_serving(self) -> None:
        """Have a builder that has been there since yesterday."""
        builder = self._new()
        builder.running_since = self._env.now
        builder.start()
        builder.in_service_since = -math.inf
        self.builders.append(builder)
        self._load_balancer.join(builder)
        self._expect_interruption(builder)

    def _launch(self) -> None:
        if self.stopped:
            builder = self.stopped.pop()
            begin, boot = self._timing.start, self._timing.kernel + self._timing.host_restart
        else:
            builder = self._new()
            begin, boot = self._timing.launch, self._timing.kernel + self._timing.host_boot
        self.builders.append(builder)
        self._env.process(self._boot(builder, begin, boot))
        self._fill_pool()

    def _new(self) -> Builder:
        builder = Builder(self._env, self._machine)
        self.everyone.append(builder)
        self._launched[builder] = self._env.now
        return builder

    def _fill_pool(self) -> None:
        # How its members boot for the first time is not simulated: it keeps nobody waiting, and costs a minute each.
        while self._pool and len(self.stopped) < min(
            self._pool.min_size, self._pool.max_prepared_capacity - len(self.builders)
        ):
            self.stopped.append(self._new())

    def _boot(self, builder: Builder, begin: float, boot: float) -> simpy.events.ProcessGenerator:
        spread = math.exp(self._random.gauss(0, self._timing.boot_spread))
        yield self._env.timeout(begin * spread)
        builder.running_since = self._env.now
        self._expect_interruption(builder)
        yield self._env.timeout(boot * spread)
        if builder in self.builders:
            builder.start()
            self._load_balancer.register(builder)

    def _drain(self, builder: Builder) -> simpy.events.ProcessGenerator:
        deregistered = self._env.now
        yield self._env.timeout(self._settling)
        builder.stop_listening()
        yield builder.drained
        comes_back = self._has_room_for(builder)
        if comes_back or not self._ends_itself:
            yield self._env.timeout(max(0.0, deregistered + self._release - self._env.now))
        self._end_running(builder)
        builder.in_service_since = None
        if comes_back and self._has_room_for(builder):
            self.stopped.append(builder)
        else:
            self._end_volume(builder)

    def _has_room_for(self, builder: Builder) -> bool:
        return (
            self._pool is not None
            and self._pool.reuse_on_scale_in
            and builder in self._launched
            and len(self.builders) + len(self.stopped) < self._pool.max_prepared_capacity
        )

    def _expect_interruption(self, builder: Builder) -> None:
        if self._spot_interruptions:
            self._env.process(self._interrupt(builder, self._env.now))

    def _interrupt(self, builder: Builder, running_since: float) -> simpy.events.ProcessGenerator:
        yield self._env.timeout(self._random.expovariate(self._spot_interruptions / 3600))
        if builder.running_since != running_since:
            return
        if builder in self.builders:
            self.terminate(builder, decrement=False)
        # Two minutes' notice: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
        yield self._env.timeout(120)
        if builder.running_since != running_since:
            return
        self._load_balancer.remove(builder)
        self._end_running(builder)
        self._end_volume(builder)
        builder.listens = False
        self._on_interruption(builder)

    def _end_running(self, builder: Builder) -> None:
        if builder.running_since is not None:
            # EC2 bills by the second, sixty at the least.
            seconds = max(60.0, min(self._env.now, self._until) - builder.running_since)
            self.running_seconds += seconds if builder.running_since < self._until else 0.0
            builder.running_since = None

    def _end_volume(self, builder: Builder) -> None:
        launched = self._launched.pop(builder, None)
        if launched is not None:
            self.volume_seconds += max(0.0, min(self._env.now, self._until) - launched)
