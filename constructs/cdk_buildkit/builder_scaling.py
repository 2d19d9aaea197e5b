"""The scaling parameters of a fleet: when builders come, how much one takes, and when it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aws_cdk import Size

from cdk_buildkit.capacity_schedule import CapacitySchedule
from cdk_buildkit.warm_pool import WarmPool

METRIC_NAMESPACE = "CdkBuildkit"
IN_FLIGHT_BUILDS = "InFlightBuilds"
"""Published by every live builder, so that the average is in-flight builds per live builder, and the sample count of
one period the live builders."""

WAITING_JOBS = "WaitingJobs"
"""Put by the function that wakes pods, for the autoscaler: the jobs that wait for builders."""

METRIC_PERIOD = timedelta(seconds=10)
"""How often a builder publishes, and target tracking looks: the shortest of the periods that it accepts, 10, 30 and 60
seconds (https://docs.aws.amazon.com/autoscaling/ec2/userguide/policy-creating-high-resolution-metrics.html)."""

SHORTEST_IDLE_TIMEOUT = timedelta(minutes=1)
LEAST_STEP_MEMORY = Size.mebibytes(64)
LEAST_STEP_CPUS = 0.1


@dataclass(frozen=True, kw_only=True)
class BuilderScaling:
    """How a fleet follows its builds; the same for each architecture, whose builders are counted apart.

    Args:
        target_builds_per_builder: In-flight builds per live builder above which builders are added. Also what waking
            sizes by: so many waiting jobs are one builder.
        max_builds: In-flight builds at which a builder fails the load balancer's health check and gets no new ones.
        idle_timeout: How long a builder has been without a build before it retires itself, above `min_capacity`.
        warm_pool: Stopped builders that keep their store. Default: none; builders that go are terminated.
        schedules: Changes of the capacities at given times. Default: none.
        on_demand_base_capacity: On spot capacity: builders of each architecture that are on demand before any is not.
        on_demand_percentage: On spot capacity: the share of builders above that base that is on demand.
        max_parallelism: Steps that one builder runs at a time, whatever builds they are of. Default: no limit.
        step_memory: Memory that a step may use; one that wants more is killed. Default: all that there is.
        step_cpus: Processors that a step may use. Default: all.

    Raises:
        ValueError: A figure is outside its bounds, or `target_builds_per_builder` is above `max_builds`.
    """

    target_builds_per_builder: float = 3.0
    max_builds: int = 4
    idle_timeout: timedelta = timedelta(minutes=15)
    warm_pool: WarmPool | None = None
    schedules: Sequence[CapacitySchedule] = ()
    on_demand_base_capacity: int = 0
    on_demand_percentage: int = 0
    max_parallelism: int | None = None
    step_memory: Size | None = None
    step_cpus: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.target_builds_per_builder <= self.max_builds:
            raise ValueError(
                "target_builds_per_builder is above 0 and at most max_builds, or builders turn builds away before "
                f"others come; got target_builds_per_builder {self.target_builds_per_builder}, max_builds "
                f"{self.max_builds}: lower the one or raise the other"
            )
        if self.idle_timeout < SHORTEST_IDLE_TIMEOUT:
            raise ValueError(f"idle_timeout is at least {SHORTEST_IDLE_TIMEOUT}; got {self.idle_timeout}: raise it")
        if self.on_demand_base_capacity < 0 or not 0 <= self.on_demand_percentage <= 100:  # noqa: PLR2004 - a percentage
            raise ValueError(
                "on_demand_base_capacity is 0 or more and on_demand_percentage 0 to 100; got "
                f"{self.on_demand_base_capacity} and {self.on_demand_percentage}: move them inside"
            )
        if self.max_parallelism is not None and self.max_parallelism < 1:
            raise ValueError(
                f"max_parallelism is at least 1; got {self.max_parallelism}: raise it, or leave it out for no limit"
            )
        if self.step_memory is not None and self.step_memory.to_bytes() < LEAST_STEP_MEMORY.to_bytes():
            raise ValueError(
                f"step_memory is at least {LEAST_STEP_MEMORY.to_mebibytes():.0f} MiB; got "
                f"{self.step_memory.to_bytes():.0f} bytes: raise it, or leave it out for no limit"
            )
        if self.step_cpus is not None and self.step_cpus < LEAST_STEP_CPUS:
            raise ValueError(
                f"step_cpus is at least {LEAST_STEP_CPUS}; got {self.step_cpus}: raise it, or leave it out for no limit"
            )
