"""What the settings of a fleet's scaling must be to each other and to the rest of the fleet."""

from collections.abc import Iterator

from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES, WITHOUT_INSTANCE_STORE, has_instance_store
from stacks.config.problems import KeyPath, Problem, listing, quote, refused
from stacks.config.scaling_settings import ScheduleConfig
from stacks.config.settings import FleetConfig


def scaling_problems(path: KeyPath, fleet: FleetConfig) -> Iterator[Problem]:
    """Check a fleet's scaling."""
    scaling = fleet.scaling
    if scaling.target_builds_per_builder > scaling.max_builds:
        yield refused(
            (*path, "target_builds_per_builder"),
            scaling.target_builds_per_builder,
            f"at most max_builds ({scaling.max_builds}), or builders turn builds away before others come",
            "lower it or raise max_builds",
        )
    for name in ("on_demand_base_capacity", "on_demand_percentage"):
        given = getattr(scaling, name)
        if given and not fleet.spot:
            yield refused(
                (*path, name),
                given,
                "0 where spot is false: every builder is on demand then",
                "leave it out, or set spot = true",
            )
    for position, schedule in enumerate(scaling.schedules):
        yield from _schedule_problems((*path, "schedules", position), schedule, fleet)
    if scaling.warm_pool:
        yield from _warm_pool_problems((*path, "warm_pool"), fleet)


def _schedule_problems(path: KeyPath, schedule: ScheduleConfig, fleet: FleetConfig) -> Iterator[Problem]:
    if schedule.min_capacity is None and schedule.max_capacity is None:
        yield refused(
            path, quote(schedule.cron), "a schedule with min_capacity, max_capacity or both", "add what it changes"
        )
        return
    if schedule.max_capacity == 0:
        yield refused((*path, "max_capacity"), 0, "at least 1", "raise it; min_capacity = 0 is what lets builders go")
        return
    most = fleet.max_capacity if schedule.max_capacity is None else schedule.max_capacity
    if (schedule.min_capacity or 0) > most:
        yield refused(
            (*path, "min_capacity"),
            schedule.min_capacity,
            f"0 to max_capacity ({most})",
            "lower it, or raise max_capacity here or for the fleet",
        )


def _warm_pool_problems(path: KeyPath, fleet: FleetConfig) -> Iterator[Problem]:
    if fleet.spot:
        yield refused(
            path,
            "a warm pool",
            "none where spot is true: it holds on-demand builders only",
            "remove it, or set spot = false",
        )
    for architecture in fleet.architectures:
        types = fleet.instance_types.get(architecture, DEFAULT_INSTANCE_TYPES[architecture])
        with_nvme = [each for each in types if has_instance_store(each)]
        if with_nvme:
            yield refused(
                path,
                f"a warm pool with {listing(with_nvme)}",
                "instance types without local NVMe, which a stop empties, and the store with it",
                f"set instance_types.{architecture}, for example to {WITHOUT_INSTANCE_STORE[architecture]}",
            )
