"""The alarms of one fleet: each says what an operator can do, and none sounds for a fleet that is asleep."""

import tomllib
from datetime import timedelta

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_host import HOST_FILES
from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet
from cdk_buildkit.fleet_metrics import CERTIFICATES, BuilderFleet, FleetMetrics
from cdk_buildkit.function_alarm import FunctionAlarm
from cdk_buildkit.operator_alarm import BREACHING, OperatorAlarm

_FIVE_MINUTES = Duration.minutes(5)
_FIFTEEN_MINUTES = Duration.minutes(15)
_LATE_DAYS = 1
"""Days by which a renewal may be late before somebody looks: it runs daily."""

LEAST_UNANSWERED = 15
"""Of the 20 times in five minutes that `host/observer.py` asks a daemon."""


class BuilderAlarms(Construct):
    """Makes the alarms, in `alarms` by name.

    Args:
        fleet: The fleet.
        metrics: Its metrics.
        topic: Who is told. Default: nobody.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        fleet: BuilderFleet,
        metrics: FleetMetrics,
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, id)
        self._fleet = fleet
        self._metrics = metrics
        self._topic = topic
        self._end, self._builder = (
            ("terminate", "instance") if isinstance(fleet, Ec2BuilderFleet) else ("delete", "pod")
        )
        self.alarms: list[cloudwatch.Alarm] = []
        for architecture in fleet.architectures:
            if isinstance(fleet, EksBuilderFleet):
                self._watch_pods(fleet, architecture)
            else:
                self._watch_instances(architecture)
            self._watch_health(architecture)
            self._watch_builds(architecture)
        self._watch_certificates()
        self._watch_waking()

    def _watch_pods(self, fleet: EksBuilderFleet, architecture: Architecture) -> None:
        self._add(
            architecture,
            "AtMaximum",
            metric=cloudwatch.MathExpression(
                expression=f"IF(live >= {fleet.capacities[architecture].max_capacity} AND "
                f"in_flight > {fleet.scaling.target_builds_per_builder:g}, 1, 0)",
                using_metrics={
                    "live": self._metrics.live(architecture),
                    "in_flight": self._metrics.in_flight(architecture),
                },
                label="More builds than its maximum is for",
                period=Duration.minutes(1),
            ),
            threshold=1,
            periods=15,
            words="Builders have had more builds than target_builds_per_builder for 15 minutes, and there are "
            "max_capacity of them: builds share what is there, and get slower. Raise max_capacity.",
            section="at-maximum",
        )

    def _watch_instances(self, architecture: Architecture) -> None:
        desired = self._metrics.group("GroupDesiredCapacity", architecture)
        in_service = self._metrics.group("GroupInServiceInstances", architecture)
        self._add(
            architecture,
            "CannotLaunch",
            metric=cloudwatch.MathExpression(
                expression="desired - in_service",
                using_metrics={"desired": desired, "in_service": in_service},
                label="Builders that are wanted and do not come",
                period=Duration.minutes(1),
            ),
            threshold=1,
            periods=15,
            words="Builders have been wanted for 15 minutes and do not come. The group's activities say why: capacity, "
            "quota, or a boot that fails.",
            section="cannot-launch",
        )
        self._add(
            architecture,
            "AtMaximum",
            metric=cloudwatch.MathExpression(
                expression="IF(desired >= most AND "
                f"in_flight > {self._fleet.scaling.target_builds_per_builder:g}, 1, 0)",
                using_metrics={
                    "desired": desired,
                    "most": self._metrics.group("GroupMaxSize", architecture),
                    "in_flight": self._metrics.in_flight(architecture),
                },
                label="More builds than its maximum is for",
                period=Duration.minutes(1),
            ),
            threshold=1,
            periods=15,
            words="Builders have had more builds than target_builds_per_builder for 15 minutes, and the group is at "
            "its maximum: builds share what is there, and get slower. Raise max_capacity.",
            section="at-maximum",
        )
        self._add(
            architecture,
            "NoBuilderAnswers",
            metric=cloudwatch.MathExpression(
                expression="IF(in_service > 0 AND FILL(healthy, 0) < 1 AND "
                f"FILL(in_flight, 0) < {self._fleet.scaling.max_builds}, 1, 0)",
                using_metrics={
                    "in_service": self._metrics.group("GroupInServiceInstances", architecture),
                    "healthy": self._metrics.healthy(architecture),
                    "in_flight": self._metrics.in_flight(architecture),
                },
                label="In service, with room, and not reached",
                period=Duration.minutes(1),
            ),
            threshold=1,
            periods=10,
            words="Builders are in service and have room, and the load balancer has reached none of them for 10 "
            "minutes: no build can start. Look at the logs of builder-agent and buildkitd.",
            section="no-builder-answers",
        )

    def _watch_health(self, architecture: Architecture) -> None:
        self._add(
            architecture,
            "BuilderUnhealthy",
            metric=self._metrics.published("Unanswered", architecture, "Sum", period=_FIVE_MINUTES),
            threshold=LEAST_UNANSWERED,
            periods=2,
            words="buildkitd has not answered on a builder for 10 minutes. Find which in the logs (look_failed), and "
            f"{self._end} that {self._builder}: another comes.",
            section="builder-unhealthy",
        )
        self._add(
            architecture,
            "StoreFull",
            metric=self._metrics.published("StoreUsedPercent", architecture, "Maximum", period=_FIVE_MINUTES),
            threshold=store_ceiling_percent(),
            periods=3,
            comparison=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            words="A builder's store has been fuller for 15 minutes than BuildKit's garbage collection should let it "
            f"be. Give it a larger volume, or {self._end} the {self._builder}.",
            section="store-full",
        )

    def _watch_builds(self, architecture: Architecture) -> None:
        self._add(
            architecture,
            "BuildsLost",
            metric=self._metrics.published("BuildsLost", architecture, "Sum", period=_FIVE_MINUTES),
            threshold=1,
            periods=1,
            words="A builder went before its builds had ended: they met longest_build, or a spot notice. Start them "
            "again; the cache has what they exported.",
            section="builds-lost",
        )
        self._add(
            architecture,
            "DrainTimedOut",
            metric=self._metrics.published("DrainTimeouts", architecture, "Sum", period=_FIVE_MINUTES),
            threshold=1,
            periods=1,
            words="buildkitd had not ended longest_build after its builder was told to go, and was killed: a build "
            "hangs, takes longer than that, or the daemon hangs. Its log stream says which.",
            section="drain-timed-out",
        )
        if isinstance(self._fleet, Ec2BuilderFleet):
            self._add(
                architecture,
                "BootsFail",
                metric=self._metrics.published("BootFailures", architecture, "Sum", period=_FIFTEEN_MINUTES),
                threshold=2,
                periods=1,
                words="Builders do not boot, and are replaced again and again. Their log streams end with the reason.",
                section="boots-fail",
            )
        self._add(
            architecture,
            "CacheErrors",
            metric=self._metrics.published("CacheErrors", architecture, "Sum", period=_FIFTEEN_MINUTES),
            threshold=3,
            periods=1,
            words="Builds cannot read or write the layer cache: they are slow, or fail. The logs name them "
            "(cache_error).",
            section="cache-errors",
        )

    def _watch_certificates(self) -> None:
        lives = self._fleet.certificates.lives
        for certificate in CERTIFICATES:
            life: timedelta = getattr(lives, certificate)
            due = life / timedelta(days=1) / 3
            alarm = OperatorAlarm(
                self,
                f"{certificate.capitalize()}CertificateLate",
                metric=self._metrics.certificate_days_left(certificate),
                threshold=round(due - _LATE_DAYS, 1),
                periods=2,
                comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                missing=BREACHING,  # the issuer reports daily, also for a fleet without builders
                words=f"The {certificate} certificate was to be renewed, or its issuer has not run for two days. Call "
                "the issuer and read its answer.",
                section="certificate-late",
                topic=self._topic,
            )
            self.alarms.append(alarm.alarm)
        issuer = FunctionAlarm(
            self,
            "IssuerFails",
            function=self._fleet.certificates.issuer,
            words="The function that issues the fleet's certificates fails. Three days without it are allowed for.",
            section="issuer-fails",
            topic=self._topic,
        )
        self.alarms.append(issuer.alarm)

    def _watch_waking(self) -> None:
        alarm = OperatorAlarm(
            self,
            "WakerFails",
            metric=self._fleet.waker.function.metric_errors(period=_FIVE_MINUTES),
            threshold=1,
            periods=1,
            words="The function that starts the first builders of a fleet that sleeps has failed: jobs may wait for "
            "builders that nobody starts. Its log has the reason.",
            section="waker-fails",
            topic=self._topic,
        )
        self.alarms.append(alarm.alarm)

    def _add(
        self,
        architecture: Architecture,
        name: str,
        *,
        metric: cloudwatch.IMetric,
        threshold: float,
        periods: int,
        words: str,
        section: str,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    ) -> None:
        alarm = OperatorAlarm(
            self,
            f"{architecture.construct_id}{name}",
            metric=metric,
            threshold=threshold,
            periods=periods,
            words=words,
            section=section,
            topic=self._topic,
            comparison=comparison,
        )
        self.alarms.append(alarm.alarm)


def store_ceiling_percent() -> float:
    """Return how full BuildKit lets the store's file system become: all but the free space that it keeps."""
    configuration = tomllib.loads((HOST_FILES / "buildkitd.toml").read_text())
    return 100 - float(configuration["worker"]["oci"]["minFreeSpace"].rstrip("%"))
