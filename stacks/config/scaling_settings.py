"""The settings of how a fleet follows its builds, their types and their defaults."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from cdk_buildkit import BuilderScaling, CapacitySchedule, WarmPool
from cdk_buildkit.builder_scaling import LEAST_STEP_CPUS, LEAST_STEP_MEMORY
from stacks.config.values import Builds, Capacity, Cron, TimeZone, between


@dataclass(frozen=True, kw_only=True)
class WarmPoolConfig:
    """Stopped builders that keep their store, for a fleet that is on demand and has its store on a volume.

    Args:
        min_size: Builders of each architecture that are stopped in the pool at the least.
        max_prepared_capacity: Builders of each architecture in service and in the pool, at most. Default: max_capacity.
        reuse_on_scale_in: Let a builder that leaves go into the pool, instead of ending it.
    """

    min_size: Capacity = WarmPool.min_size
    max_prepared_capacity: Capacity | None = WarmPool.max_prepared_capacity
    reuse_on_scale_in: bool = WarmPool.reuse_on_scale_in


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A change of the capacities at given times, for each architecture.

    Args:
        cron: When, in five fields.
        time_zone: The zone of those hours.
        min_capacity: The minimum from then on. Default: unchanged.
        max_capacity: The maximum from then on. Default: unchanged.
    """

    cron: Cron
    time_zone: TimeZone = CapacitySchedule.time_zone
    min_capacity: Capacity | None = None
    max_capacity: Capacity | None = None


@dataclass(frozen=True, kw_only=True)
class ScalingConfig:
    """How builders come and go, and how much one takes.

    Args:
        target_builds_per_builder: Running builds of a builder, on the average, above which more come.
        max_builds: Running builds at which a builder takes no new ones.
        idle_timeout_minutes: Minutes without a build after which a builder above the minimum ends itself.
        max_parallelism: Steps that one builder runs at a time. Default: no limit.
        step_memory_mib: MiB of memory that a step may use. Default: no limit.
        step_cpus: Processors that a step may use. Default: no limit.
        on_demand_base_capacity: Of builders on spot capacity, how many of each architecture are on demand first.
        on_demand_percentage: The share of those above it that is on demand.
        on_demand_fallback: Launch on demand the builders that spot capacity has not.
        schedules: Changes of the capacities at given times.
        warm_pool: Stopped builders. Default: none.
    """

    target_builds_per_builder: Annotated[float, between(0.1, 1000)] = BuilderScaling.target_builds_per_builder
    max_builds: Builds = BuilderScaling.max_builds
    idle_timeout_minutes: Annotated[int, between(1, 1440)] = BuilderScaling.idle_timeout // timedelta(minutes=1)
    max_parallelism: Builds | None = BuilderScaling.max_parallelism
    step_memory_mib: Annotated[int, between(int(LEAST_STEP_MEMORY.to_mebibytes()), 2**25)] | None = None
    step_cpus: Annotated[float, between(LEAST_STEP_CPUS, 1000)] | None = BuilderScaling.step_cpus
    on_demand_base_capacity: Capacity = BuilderScaling.on_demand_base_capacity
    on_demand_percentage: Annotated[int, between(0, 100)] = BuilderScaling.on_demand_percentage
    on_demand_fallback: bool = BuilderScaling.on_demand_fallback
    schedules: tuple[ScheduleConfig, ...] = ()
    warm_pool: WarmPoolConfig | None = None
