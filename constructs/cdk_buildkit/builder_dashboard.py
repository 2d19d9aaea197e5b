"""The dashboard of one fleet: is it well, is it quick, is it busy, and what did it say last."""

import json
from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_alarms import store_ceiling_percent
from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet
from cdk_buildkit.fleet_metrics import CERTIFICATES, BuilderFleet, FleetMetrics, Terms
from cdk_buildkit.operator_alarm import RUNBOOK

_WIDTH = 24
_HEIGHT = 6
_FIVE_MINUTES = Duration.minutes(5)
_TROUBLE = {
    "BuildsLost": "builds lost",
    "DrainTimeouts": "drains timed out",
    "BootFailures": "boots failed",
    "CacheErrors": "builds with a cache error",
}
_LOSSES = ["boot_failed", "builds_lost", "drain_timed_out"]
_LAST_WORDS = [
    "fields @timestamp, @logStream as builder, unit, coalesce(event, message) as said, error",
    f"filter ispresent(error) or message like /level=(error|fatal)/ or event in {json.dumps(_LOSSES)}",
    "sort @timestamp desc",
    "limit 50",
]


class BuilderDashboard(Construct):
    """Puts everything about a fleet on one page, both architectures side by side.

    Args:
        fleet: The fleet.
        metrics: Its metrics.
        alarms: Its alarms, whose states are on top.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        fleet: BuilderFleet,
        metrics: FleetMetrics,
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        super().__init__(scope, id)
        self._fleet = fleet
        self._metrics = metrics
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Resource",
            default_interval=Duration.hours(12),
            widgets=[
                [self._title()],
                [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=_WIDTH, height=4)],
                [
                    self._pods(fleet, each) if isinstance(fleet, EksBuilderFleet) else self._capacity(each)
                    for each in fleet.architectures
                ],
                [self._in_flight(each) for each in fleet.architectures],
                [self._builds(), self._cache()],
                [self._durations(each) for each in fleet.architectures],
                [self._stores(), self._trouble(), self._certificates()],
                # Pods' logs are in the cluster.
                *([[self._last_words(fleet)]] if isinstance(fleet, Ec2BuilderFleet) else []),
            ],
        )

    def _title(self) -> cloudwatch.TextWidget:
        return cloudwatch.TextWidget(
            markdown=f"# BuildKit builders: {self._fleet.domain_name}\nWhat to do about an alarm is in `{RUNBOOK}`. "
            "Where nothing runs, nothing is published: gaps are rest, not faults.",
            width=_WIDTH,
            height=2,
        )

    def _half(self) -> int:
        return _WIDTH // len(self._fleet.architectures)

    def _capacity(self, architecture: Architecture) -> cloudwatch.GraphWidget:
        terms = {"in service": self._metrics.in_service(architecture), "wanted": self._metrics.desired(architecture)}
        most = self._metrics.group("GroupMaxSize", architecture, label="max_capacity")
        healthy = self._metrics.healthy(architecture, label="reached by the load balancer")
        return cloudwatch.GraphWidget(
            title=f"Builders, {architecture}",
            left=[*(_line(each, label) for label, each in terms.items()), most, healthy],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="builders", show_units=False),
            width=self._half(),
            height=_HEIGHT,
        )

    def _pods(self, fleet: EksBuilderFleet, architecture: Architecture) -> cloudwatch.GraphWidget:
        most = fleet.capacities[architecture].max_capacity
        return cloudwatch.GraphWidget(
            title=f"Builders, {architecture}",
            left=[self._metrics.live(architecture, label="that take builds")],
            left_annotations=[cloudwatch.HorizontalAnnotation(value=most, label="max_capacity")],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="builders", show_units=False),
            width=self._half(),
            height=_HEIGHT,
        )

    def _in_flight(self, architecture: Architecture) -> cloudwatch.GraphWidget:
        most = self._fleet.scaling.max_builds
        return cloudwatch.GraphWidget(
            title=f"Builds under way on each builder, {architecture}",
            left=[
                self._metrics.in_flight(architecture, "Average", label="average"),
                self._metrics.in_flight(architecture, "Maximum", label="on the busiest"),
            ],
            left_annotations=[
                cloudwatch.HorizontalAnnotation(value=most, label="max_builds"),
                cloudwatch.HorizontalAnnotation(
                    value=self._fleet.scaling.target_builds_per_builder, label="target_builds_per_builder"
                ),
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="builds", show_units=False),
            width=self._half(),
            height=_HEIGHT,
        )

    def _builds(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Builds ended",
            left=[
                self._published(name, each, "Sum", f"{words}, {each}")
                for each in self._fleet.architectures
                for name, words in {"Builds": "ended", "FailedBuilds": "failed of these"}.items()
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="builds in 5 minutes", show_units=False),
            width=_WIDTH // 2,
            height=_HEIGHT,
        )

    def _cache(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Steps from the cache, of all steps",
            left=[
                cloudwatch.MathExpression(
                    expression=f"100 * cached_{each} / steps_{each}",
                    using_metrics={
                        f"cached_{each}": self._published("CachedSteps", each, "Sum"),
                        f"steps_{each}": self._published("Steps", each, "Sum"),
                    },
                    label=each.value,
                    period=_FIVE_MINUTES,
                )
                for each in self._fleet.architectures
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, max=100, label="%", show_units=False),
            width=_WIDTH // 2,
            height=_HEIGHT,
        )

    def _durations(self, architecture: Architecture) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title=f"How long builds took, {architecture}",
            left=[self._published("BuildDuration", architecture, each, each) for each in ("p50", "p90", "p99")],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="seconds", show_units=False),
            width=self._half(),
            height=_HEIGHT,
        )

    def _stores(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="The fullest store",
            left=[
                self._published("StoreUsedPercent", each, "Maximum", each.value) for each in self._fleet.architectures
            ],
            left_annotations=[
                cloudwatch.HorizontalAnnotation(value=store_ceiling_percent(), label="garbage collection's ceiling")
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, max=100, label="%", show_units=False),
            width=_WIDTH // 3,
            height=_HEIGHT,
        )

    def _trouble(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Trouble",
            left=[
                self._published(name, each, "Sum", f"{words}, {each}")
                for name, words in _TROUBLE.items()
                for each in self._fleet.architectures
            ],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="in 5 minutes", show_units=False),
            width=_WIDTH // 3,
            height=_HEIGHT,
        )

    def _certificates(self) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(
            title="Days that certificates are valid",
            left=[self._metrics.certificate_days_left(each, label=each) for each in CERTIFICATES],
            left_y_axis=cloudwatch.YAxisProps(min=0, label="days", show_units=False),
            width=_WIDTH // 3,
            height=_HEIGHT,
        )

    def _last_words(self, fleet: Ec2BuilderFleet) -> cloudwatch.LogQueryWidget:
        return cloudwatch.LogQueryWidget(
            title="What went wrong last",
            log_group_names=[fleet.logs.log_group.log_group_name],
            query_lines=_LAST_WORDS,
            width=_WIDTH,
            height=_HEIGHT,
        )

    def _published(
        self, name: str, architecture: Architecture, statistic: str, label: str | None = None
    ) -> cloudwatch.Metric:
        return self._metrics.published(name, architecture, statistic, period=_FIVE_MINUTES, label=label)


def _line(terms: Terms, label: str) -> cloudwatch.IMetric:
    if len(terms.metrics) == 1:
        return terms.metrics[terms.expression].with_(label=label)
    return cloudwatch.MathExpression(
        expression=terms.expression, using_metrics=terms.metrics, label=label, period=Duration.minutes(1)
    )
