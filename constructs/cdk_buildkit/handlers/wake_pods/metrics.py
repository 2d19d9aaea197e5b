"""The metrics of a fleet's pods, as far as waking goes: who publishes, and what waits."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cdk_buildkit.handlers.wake_pods.waking import count_live, data_times

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

WINDOW = timedelta(seconds=30)
"""Over which builders are counted: they publish every few seconds, not at the same ones."""


class FleetMetrics:
    """Reads and writes the metrics of one fleet.

    Args:
        client: CloudWatch.
        namespace: Their namespace.
        fleet: The fleet's domain name, as its builders publish it.
        in_flight: The metric that every live builder publishes.
        waiting: The metric of waiting jobs.
        publish_seconds: How often a builder publishes.
    """

    def __init__(
        self,
        client: "CloudWatchClient",
        *,
        namespace: str,
        fleet: str,
        in_flight: str,
        waiting: str,
        publish_seconds: float,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._fleet = fleet
        self._in_flight = in_flight
        self._waiting = waiting
        self._publish_seconds = publish_seconds

    def put_waiting(self, jobs: Mapping[str, int]) -> None:
        """Put the waiting jobs of each architecture, all or none."""
        now = datetime.now(UTC)
        data: list[MetricDatumTypeDef] = [
            {
                "MetricName": self._waiting,
                "Dimensions": self._dimensions(architecture),
                "Timestamp": at,
                "Value": number,
                "Unit": "Count",
                "StorageResolution": 1,
            }
            for architecture, number in jobs.items()
            for at in data_times(now)
        ]
        self._client.put_metric_data(Namespace=self._namespace, MetricData=data)

    def live_builders(self, architecture: str) -> int:
        """Return how many builders have published lately."""
        seconds = int(WINDOW.total_seconds())
        end = datetime.fromtimestamp((datetime.now(UTC).timestamp() // seconds + 1) * seconds, UTC)
        answer = self._client.get_metric_data(
            StartTime=end - 2 * WINDOW,
            EndTime=end,
            ScanBy="TimestampDescending",
            MetricDataQueries=[
                {
                    "Id": "live",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": self._namespace,
                            "MetricName": self._in_flight,
                            "Dimensions": self._dimensions(architecture),
                        },
                        "Period": seconds,
                        "Stat": "SampleCount",
                    },
                }
            ],
        )
        (result,) = answer["MetricDataResults"]
        samples = dict(zip(result["Timestamps"], result["Values"], strict=True))
        return count_live(
            samples.get(end - 2 * WINDOW, 0),
            samples.get(end - WINDOW, 0),
            WINDOW.total_seconds() / self._publish_seconds,
        )

    def _dimensions(self, architecture: str) -> list["DimensionTypeDef"]:
        return [{"Name": "Fleet", "Value": self._fleet}, {"Name": "Architecture", "Value": architecture}]
