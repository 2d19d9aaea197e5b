"""CloudWatch's alarms and dashboards, and the metric filters of log groups."""

import json
from typing import Any

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only
from local.emulator.metric_filters import check_pattern

_ALARM = (
    *("ActionsEnabled", "AlarmActions", "AlarmDescription", "ComparisonOperator", "DatapointsToAlarm", "Dimensions"),
    *("EvaluationPeriods", "InsufficientDataActions", "MetricName", "Metrics", "Namespace", "OKActions", "Period"),
    *("Statistic", "Tags", "Threshold", "TreatMissingData", "Unit"),
)


def _create_alarm(declaration: Declaration) -> Provisioned:
    return _put_alarm(declaration, declaration.properties.get("AlarmName", declaration.name(255)))


def _update_alarm(declaration: Declaration, _: Declaration, physical_id: str) -> Provisioned:
    return _put_alarm(declaration, physical_id)


def _put_alarm(declaration: Declaration, name: str) -> Provisioned:
    cloudwatch = declaration.aws.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName=name, **_numbers(only(declaration.properties, *_ALARM)))
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return Provisioned(name, {"Arn": alarm["AlarmArn"]})


def _delete_alarm(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])


def _create_dashboard(declaration: Declaration) -> Provisioned:
    return _put_dashboard(declaration, declaration.properties.get("DashboardName", declaration.name(255)))


def _update_dashboard(declaration: Declaration, _: Declaration, physical_id: str) -> Provisioned:
    return _put_dashboard(declaration, physical_id)


def _put_dashboard(declaration: Declaration, name: str) -> Provisioned:
    body = declaration.properties["DashboardBody"]
    json.loads(body)  # the service refuses what is no JSON
    declaration.aws.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=body)
    return Provisioned(name)


def _delete_dashboard(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("cloudwatch").delete_dashboards(DashboardNames=[physical_id])


def _create_filter(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    check_pattern(properties["FilterPattern"])
    name = properties.get("FilterName", declaration.name(512))
    transformations = []
    for declared in properties["MetricTransformations"]:
        given = only(declared, "MetricName", "MetricNamespace", "MetricValue", "DefaultValue", "Unit")
        unknown = set(declared) - set(given) - {"Dimensions"}
        if unknown:
            raise ValueError(f"a metric transformation with {', '.join(sorted(unknown))} is not emulated")
        transformation: dict[str, Any] = {key[0].lower() + key[1:]: value for key, value in given.items()}
        if "Dimensions" in declared:
            transformation["dimensions"] = {each["Key"]: each["Value"] for each in declared["Dimensions"]}
        transformations.append(transformation)
    declaration.aws.client("logs").put_metric_filter(
        logGroupName=properties["LogGroupName"],
        filterName=name,
        filterPattern=properties["FilterPattern"],
        metricTransformations=transformations,
    )
    return Provisioned(name)


def _delete_filter(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("logs").delete_metric_filter(
        logGroupName=declaration.properties["LogGroupName"], filterName=physical_id
    )


def _numbers(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Turn texts into the numbers and booleans that the service's client wants, as CloudFormation does."""
    if isinstance(value, dict):
        return {name: _number(each) if name in _NUMBERS else _numbers(each) for name, each in value.items()}
    return [_numbers(each) for each in value] if isinstance(value, list) else value


_NUMBERS = {"DatapointsToAlarm", "EvaluationPeriods", "Period", "ReturnData", "Threshold"}


def _number(value: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(str(value).lower())


TYPES = {
    "AWS::CloudWatch::Alarm": ResourceType(_create_alarm, _delete_alarm, _update_alarm),
    "AWS::CloudWatch::Dashboard": ResourceType(_create_dashboard, _delete_dashboard, _update_dashboard),
    "AWS::Logs::MetricFilter": ResourceType(_create_filter, _delete_filter),
}
