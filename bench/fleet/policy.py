"""How a fleet is run: the constructs' way, and the ways that it is compared with."""

import enum
from dataclasses import dataclass, replace

from bench.fleet.auto_scaling_group import Pool
from bench.fleet.builder import Machine
from bench.fleet.load_balancer import HealthCheck


class Scaling(enum.Enum):
    """What adds builders."""

    BUILDS = enum.auto()
    """Target tracking on in-flight builds per builder, that only scales out."""
    CPU = enum.auto()
    """Target tracking on the average CPU utilization, that scales in too."""
    NONE = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A fleet's parameters, in the words of the constructs and the templates. Times are seconds.

    Args:
        name: How it is called in the table.
        machine: What a builder is.
        min_capacity: Builders at the least.
        max_capacity: Builders at the most.
        scaling: What adds builders.
        target: What the average of the scaling's metric should be.
        metric_period: Of the scaling's metric.
        instance_warmup: Before which a builder in service does not count as capacity.
        wakes: Whether a client that finds no builder calls the waking function.
        max_builds: In-flight builds at which a builder fails its health check. None: never.
        max_connections: Above which a builder refuses connections, so that their clients try again. None: never.
        idle_timeout: After which a builder without builds retires itself, above `min_capacity`. None: never.
        settling: Of serving after deregistration.
        release: After deregistration, before which the group lets no drained builder go.
        ends_itself: Whether a drained builder powers itself off instead, unless it goes into the warm pool.
        health_check: Of the target group.
        pool: The warm pool. None: builders that go are terminated.
        spot_interruptions: Of one builder, an hour.
    """

    name: str
    machine: Machine
    min_capacity: int
    max_capacity: int
    scaling: Scaling
    target: float
    metric_period: float
    instance_warmup: float
    wakes: bool
    max_builds: int | None
    max_connections: int | None = None
    idle_timeout: float | None
    settling: float
    release: float
    ends_itself: bool
    health_check: HealthCheck
    pool: Pool | None = None
    spot_interruptions: float = 0.0

    def always_on(self, builders: int) -> "Policy":
        """Return the policy of so many builders, day and night."""
        return replace(
            self,
            name="always on",
            min_capacity=builders,
            max_capacity=builders,
            scaling=Scaling.NONE,
            wakes=False,
            idle_timeout=None,
        )

    def cpu_tracking(self) -> "Policy":
        """Return what an Auto Scaling group usually has: half of the CPU as target, a datapoint a minute."""
        return replace(
            self,
            name="CPU tracking, 50 %",
            min_capacity=max(1, self.min_capacity),
            scaling=Scaling.CPU,
            target=0.5,
            metric_period=60.0,
            wakes=False,
            max_builds=None,
            idle_timeout=None,
        )
