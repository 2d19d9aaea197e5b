"""The alarms of a stack in the emulated account, and whether what is published there makes them go off."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local.emulator.aws import Aws

Alarm = Mapping[str, Any]


class DeployedAlarms:
    """Evaluates alarms as CloudWatch does, which the emulated account does not do by itself.

    One period is looked at, which begins when this is made. Values are asked for by the alarm's own namespaces, names,
    dimensions and statistics, so that one which watches what nobody publishes never goes off.
    """

    def __init__(self, endpoint_url: str, stack: str) -> None:
        self._aws = Aws(endpoint_url)
        self._stack = stack
        time.sleep(1 - time.time() % 1)  # builders publish by the second: nothing of an earlier test may count
        self._since = datetime.now(UTC).replace(microsecond=0)

    def alarm(self, name: str) -> Alarm:
        """Return the alarm whose construct is called so, as CloudWatch describes it."""
        resources = self._aws.client("cloudformation").describe_stack_resources(StackName=self._stack)["StackResources"]
        (physical_id,) = (
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == "AWS::CloudWatch::Alarm"
            and re.fullmatch(f"\\w*{name}(Alarm)?[0-9A-F]{{8}}", each["LogicalResourceId"])
        )
        (alarm,) = self._aws.client("cloudwatch").describe_alarms(AlarmNames=[physical_id])["MetricAlarms"]
        return dict(alarm)

    def sounds(self, name: str) -> bool:
        """Whether what has been published since this was made sets the alarm off, if it goes on."""
        alarm = self.alarm(name)
        if "MetricName" in alarm:
            metric = {key: alarm[key] for key in ("Namespace", "MetricName", "Dimensions")}
            return sounds(alarm, {"": self._value(metric, alarm.get("Statistic") or alarm["ExtendedStatistic"])})
        values = {
            each["Id"]: self._value(each["MetricStat"]["Metric"], each["MetricStat"]["Stat"])
            for each in alarm["Metrics"]
            if "MetricStat" in each
        }
        return sounds(alarm, values)

    def _value(self, metric: Mapping[str, Any], statistic: str) -> float | None:
        points = self._aws.client("cloudwatch").get_metric_statistics(
            **{key: metric[key] for key in ("Namespace", "MetricName", "Dimensions")},
            StartTime=self._since,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=86400,
            Statistics=[statistic],
        )["Datapoints"]
        return float(points[0][statistic]) if points else None


def sounds(alarm: Alarm, values: Mapping[str, float | None]) -> bool:
    """Whether an alarm goes off when its metrics have these values for long enough.

    Args:
        alarm: In a template's or in CloudWatch's words.
        values: By the ids of its metrics; an alarm on a single metric has that under the empty id. None: no data.
    """
    value = _value_of(alarm, values)
    if value is None:
        return str(alarm["TreatMissingData"]) == "breaching"
    compare: Callable[[float, float], bool] = {
        "GreaterThanOrEqualToThreshold": float.__ge__,
        "GreaterThanThreshold": float.__gt__,
        "LessThanThreshold": float.__lt__,
    }[alarm["ComparisonOperator"]]
    return compare(float(value), float(alarm["Threshold"]))


def _value_of(alarm: Alarm, values: Mapping[str, float | None]) -> float | None:
    if "MetricName" in alarm:
        return values[""]
    (expression,) = (each["Expression"] for each in alarm["Metrics"] if "Expression" in each)
    words = re.sub(r"\bAND\b", "and", expression)
    if any(values[name] is None for name in values if re.search(rf"(?<!FILL\(){name}\b", words)):
        return None  # arithmetic on nothing is nothing
    functions = {
        "FILL": lambda value, instead: instead if value is None else value,
        "IF": lambda condition, yes, no: yes if condition else no,
    }
    return float(eval(words, {"__builtins__": {}}, {**functions, **values}))  # noqa: S307 - the template's own
