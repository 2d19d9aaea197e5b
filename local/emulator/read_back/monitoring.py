"""Reads alarms, dashboards and metric filters back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick

_ALARM = (
    *("ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName", "ComparisonOperator", "DatapointsToAlarm"),
    *("Dimensions", "EvaluationPeriods", "InsufficientDataActions", "MetricName", "Metrics", "Namespace", "OKActions"),
    *("Period", "Statistic", "Threshold", "TreatMissingData", "Unit"),
)


def _alarm(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    cloudwatch = account.client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[physical_id])["MetricAlarms"]
    tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    return Found({**pick(alarm, *_ALARM), "Tags": tags}, {"Arn": alarm["AlarmArn"]})


def _dashboard(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    dashboard = account.client("cloudwatch").get_dashboard(DashboardName=physical_id)
    return Found(pick(dashboard, "DashboardBody", "DashboardName"))


def _filter(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    (found,) = account.client("logs").describe_metric_filters(
        logGroupName=declared["LogGroupName"], filterNamePrefix=physical_id
    )["metricFilters"]
    transformations = [
        {
            **{name[0].upper() + name[1:]: value for name, value in each.items() if name != "dimensions"},
            **(
                {"Dimensions": [{"Key": key, "Value": value} for key, value in each["dimensions"].items()]}
                if each.get("dimensions")
                else {}
            ),
        }
        for each in found["metricTransformations"]
    ]
    return Found(
        {
            "FilterName": physical_id,
            "FilterPattern": found["filterPattern"],
            "LogGroupName": found["logGroupName"],
            "MetricTransformations": transformations,
        }
    )


READERS = {
    "AWS::CloudWatch::Alarm": Reader(_alarm, frozenset({"Dimensions", "Metrics.MetricStat.Metric.Dimensions"})),
    "AWS::CloudWatch::Dashboard": Reader(_dashboard),
    "AWS::Logs::MetricFilter": Reader(_filter),
}
