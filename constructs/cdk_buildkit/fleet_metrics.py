"""The metrics of one fleet: what its builders publish, what is made of their logs, and what AWS counts of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_certificates import CERTIFICATE_DAYS_LEFT
from cdk_buildkit.builder_scaling import IN_FLIGHT_BUILDS, METRIC_NAMESPACE, METRIC_PERIOD
from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet

CERTIFICATES = ("server", "client")
"""What the issuer reports on."""

_PERIOD = Duration.minutes(1)

BuilderFleet = Ec2BuilderFleet | EksBuilderFleet
"""A fleet of instances, or of pods: their builders publish the same."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A part of a metric math expression, and the metrics that it names."""

    expression: str
    metrics: Mapping[str, cloudwatch.Metric]


class FleetMetrics(Construct):
    """Gives metrics by name, and makes the metric filters that some of them come from.

    Args:
        fleet: The fleet.
    """

    def __init__(self, scope: Construct, id: str, *, fleet: BuilderFleet) -> None:  # noqa: A002
        super().__init__(scope, id)
        self._fleet = fleet
        if isinstance(fleet, Ec2BuilderFleet):  # what a pod's agent publishes by itself
            self._filter(fleet, "BuildsLost", '{ $.event = "builds_lost" }', "$.builds")
            self._filter(fleet, "DrainTimeouts", '{ $.event = "drain_timed_out" }', "1")
            self._filter(fleet, "BootFailures", '{ $.event = "boot_failed" }', "1")

    def published(self, name: str, architecture: Architecture, statistic: str, **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - a metric's own
        """Return a metric of `host/observer.py`, `host/agent.py`, or of the builders' logs."""
        return cloudwatch.Metric(
            namespace=METRIC_NAMESPACE,
            metric_name=name,
            dimensions_map={"Fleet": self._fleet.domain_name, "Architecture": architecture.value},
            statistic=statistic,
            **{"period": _PERIOD, **options},
        )

    def in_flight(self, architecture: Architecture, statistic: str = "Average", **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - likewise
        """Return the in-flight builds of each live builder."""
        return self.published(IN_FLIGHT_BUILDS, architecture, statistic, **options)

    def live(self, architecture: Architecture, **options: Any) -> cloudwatch.MathExpression:  # noqa: ANN401 - likewise
        """Return the builders that take builds: each publishes once in `METRIC_PERIOD`."""
        return cloudwatch.MathExpression(
            expression=f"samples / {_PERIOD.to_seconds() / METRIC_PERIOD.total_seconds():g}",
            using_metrics={"samples": self.in_flight(architecture, "SampleCount")},
            **{"period": _PERIOD, **options},
        )

    def group(self, name: str, architecture: Architecture, **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - likewise
        """Return a metric of the Auto Scaling group of instances, for example `GroupDesiredCapacity`."""
        return _of_group(self._instances.groups[architecture], name, **options)

    def in_service(self, architecture: Architecture) -> Terms:
        """Return the builders in service, those of the fallback group too."""
        return self._with_fallback(architecture, "in_service", "GroupInServiceInstances")

    def desired(self, architecture: Architecture) -> Terms:
        """Return the builders that are wanted.

        What the fallback group has for the other's minimum, its own minimum, is wanted there too, and counted once.
        """
        return self._with_fallback(
            architecture, "desired", "GroupDesiredCapacity", " - FILL(fallback_least, 0)", fallback_least="GroupMinSize"
        )

    def _with_fallback(self, architecture: Architecture, term: str, name: str, more: str = "", **others: str) -> Terms:
        own = {term: self.group(name, architecture)}
        fallback = self._instances.fallback_groups.get(architecture)
        if fallback is None:
            return Terms(expression=term, metrics=own)
        names = {f"fallback_{term}": name, **others}
        return Terms(
            expression=f"({term} + FILL(fallback_{term}, 0){more})",
            metrics=own | {key: _of_group(fallback, each) for key, each in names.items()},
        )

    @property
    def _instances(self) -> Ec2BuilderFleet:
        assert isinstance(self._fleet, Ec2BuilderFleet)  # noqa: S101 - pods are in no group
        return self._fleet

    def healthy(self, architecture: Architecture, **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - likewise
        """Return the builders that the load balancer finds healthy, in the zone that finds the most."""
        return self._fleet.target_groups[architecture].metrics.healthy_host_count(
            statistic="Maximum", **{"period": _PERIOD, **options}
        )

    def certificate_days_left(self, certificate: str, **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - likewise
        """Return the days for which the `server` or the `client` certificate that is given out is still valid."""
        return cloudwatch.Metric(
            namespace=METRIC_NAMESPACE,
            metric_name=CERTIFICATE_DAYS_LEFT,
            dimensions_map={"Fleet": self._fleet.domain_name, "Certificate": certificate},
            statistic="Minimum",
            **{"period": Duration.days(1), **options},
        )

    def _filter(self, fleet: Ec2BuilderFleet, name: str, pattern: str, value: str) -> None:
        logs.MetricFilter(
            self,
            name,
            log_group=fleet.logs.log_group,
            filter_pattern=logs.FilterPattern.literal(pattern),
            metric_namespace=METRIC_NAMESPACE,
            metric_name=name,
            metric_value=value,
            dimensions={"Fleet": "$.fleet", "Architecture": "$.architecture"},
        )


def _of_group(group: autoscaling.AutoScalingGroup, name: str, **options: Any) -> cloudwatch.Metric:  # noqa: ANN401 - a metric's own
    return cloudwatch.Metric(
        namespace="AWS/AutoScaling",
        metric_name=name,
        dimensions_map={"AutoScalingGroupName": group.auto_scaling_group_name},
        statistic="Maximum",
        **{"period": _PERIOD, **options},
    )
