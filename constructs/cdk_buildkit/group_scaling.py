"""How the Auto Scaling group of one architecture follows its builds: scale-out, schedules and the warm pool."""

from collections.abc import Mapping

from aws_cdk import aws_autoscaling as autoscaling
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_scaling import IN_FLIGHT_BUILDS, METRIC_NAMESPACE, METRIC_PERIOD, BuilderScaling
from cdk_buildkit.instance_types import WITHOUT_INSTANCE_STORE, has_instance_store


class GroupScaling(Construct):
    """Adds builders by target tracking on in-flight builds per live builder, and takes none away.

    Idle builders end themselves: `host/retirement.py`. Target tracking would end any builder, and of those that publish
    nothing, at zero, it knows nothing: `BuilderWaker` starts the first.

    Args:
        group: The group.
        capacity: Its capacities and instance types.
        scaling: The fleet's scaling parameters.
        fleet: The fleet's domain name, as its builders publish it.
        architecture: Its builders' architecture, likewise.

    Raises:
        ValueError: The parameters do not fit the capacities, or the warm pool not the instance types.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        group: autoscaling.AutoScalingGroup,
        capacity: BuilderCapacity,
        scaling: BuilderScaling,
        fleet: str,
        architecture: Architecture,
    ) -> None:
        super().__init__(scope, id)
        check_scaling(scaling, capacity, architecture)
        self._group = group
        self._add_scale_out(scaling, fleet, architecture)
        self._add_schedules(scaling)
        if scaling.warm_pool:
            group.add_warm_pool(
                pool_state=autoscaling.PoolState.STOPPED,
                min_size=scaling.warm_pool.min_size,
                max_group_prepared_capacity=scaling.warm_pool.max_prepared_capacity,
                reuse_on_scale_in=scaling.warm_pool.reuse_on_scale_in,
            )

    @staticmethod
    def host_environment(scaling: BuilderScaling, fleet: str, architecture: Architecture) -> Mapping[str, str]:
        """Return what `host/agent.py`, `host/buildkitd.service` and `host/step_runtime.py` read."""
        return {
            "FLEET": fleet,
            "ARCHITECTURE": architecture.value,
            "METRIC_NAMESPACE": METRIC_NAMESPACE,
            "PUBLISH_SECONDS": str(int(METRIC_PERIOD.total_seconds())),
            "MAX_BUILDS": str(scaling.max_builds),
            "IDLE_TIMEOUT_SECONDS": str(int(scaling.idle_timeout.total_seconds())),
            "MAX_PARALLELISM": str(scaling.max_parallelism or 0),
            "STEP_MEMORY_BYTES": str(int(scaling.step_memory.to_bytes()) if scaling.step_memory else 0),
            "STEP_CPUS": str(scaling.step_cpus or 0),
        }

    def _add_scale_out(self, scaling: BuilderScaling, fleet: str, architecture: Architecture) -> None:
        dimensions = {"Fleet": fleet, "Architecture": architecture.value}
        policy = autoscaling.CfnScalingPolicy
        policy(
            self,
            "ScaleOut",
            auto_scaling_group_name=self._group.auto_scaling_group_name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=policy.TargetTrackingConfigurationProperty(
                target_value=scaling.target_builds_per_builder,
                disable_scale_in=True,
                # The CDK's own construct for it leaves out the period, without which it is a minute.
                customized_metric_specification=policy.CustomizedMetricSpecificationProperty(
                    namespace=METRIC_NAMESPACE,
                    metric_name=IN_FLIGHT_BUILDS,
                    dimensions=[
                        policy.MetricDimensionProperty(name=name, value=value) for name, value in dimensions.items()
                    ],
                    statistic="Average",
                    period=int(METRIC_PERIOD.total_seconds()),
                ),
            ),
        )

    def _add_schedules(self, scaling: BuilderScaling) -> None:
        for number, schedule in enumerate(scaling.schedules):
            self._group.scale_on_schedule(
                f"Schedule{number}",
                schedule=autoscaling.Schedule.expression(schedule.cron),
                time_zone=schedule.time_zone,
                min_capacity=schedule.min_capacity,
                max_capacity=schedule.max_capacity,
            )


def check_scaling(scaling: BuilderScaling, capacity: BuilderCapacity, architecture: Architecture) -> None:
    """Refuse scaling parameters that do not fit a group.

    Raises:
        ValueError: A share of on-demand builders is asked for without spot capacity, a schedule's minimum is above
            the maximum, or a warm pool is asked for with spot capacity or instance types whose store a stop empties.
    """
    if not capacity.spot and (scaling.on_demand_base_capacity or scaling.on_demand_percentage):
        raise ValueError(
            "on_demand_base_capacity and on_demand_percentage are for fleets on spot capacity; got "
            f"{scaling.on_demand_base_capacity} and {scaling.on_demand_percentage} with spot off: leave them out, or "
            "turn spot on"
        )
    for schedule in scaling.schedules:
        least, most = schedule.min_capacity or 0, schedule.max_capacity or capacity.max_capacity
        if least > most:
            raise ValueError(
                f"a schedule's min_capacity is at most max_capacity; got {least} and {most} at {schedule.cron!r}: "
                "lower the one or raise the other"
            )
    if scaling.warm_pool is None:
        return
    if capacity.spot:
        raise ValueError("a warm pool holds on-demand builders only; got spot on: turn it off, or leave the pool out")
    with_nvme = [each for each in capacity.instance_types_for(architecture) if has_instance_store(each)]
    if with_nvme:
        raise ValueError(
            "a warm pool stops builders, which empties local NVMe, so that their store would be gone; got the instance "
            f"types {', '.join(with_nvme)}: name types without it, for example {WITHOUT_INSTANCE_STORE[architecture]}, "
            "whose store is a volume"
        )
