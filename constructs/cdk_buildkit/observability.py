"""What an operator sees of a fleet."""

from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit.builder_alarms import BuilderAlarms
from cdk_buildkit.builder_dashboard import BuilderDashboard
from cdk_buildkit.fleet_metrics import BuilderFleet, FleetMetrics


class BuilderObservability(Construct):
    """A dashboard and alarms for one fleet, in the fleet's own stack.

    They stay silent while the fleet has no builder: then nothing is published, and that is as it should be. What each
    alarm asks of an operator is in its description and in `docs/runbooks/alarms.md`.

    Args:
        fleet: The fleet.
        alarm_topic: Where alarms go, and their ends. Default: nowhere; they are in the console and on the dashboard.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        fleet: BuilderFleet,
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, id)
        metrics = FleetMetrics(self, "Metrics", fleet=fleet)
        self.alarms = tuple(BuilderAlarms(self, "Alarms", fleet=fleet, metrics=metrics, topic=alarm_topic).alarms)
        self.dashboard = BuilderDashboard(self, "Dashboard", fleet=fleet, metrics=metrics, alarms=self.alarms).dashboard
