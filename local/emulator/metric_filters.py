"""Metric filters at work: what is put into a log group becomes metric data, which moto leaves out.

Patterns of one kind are known, `{ $.key = "text" }`; any other is refused when a filter is made.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.models import LogStream, logs_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.replacing import replace

_PATTERN = re.compile(r'\{ \$\.(?P<key>\w+) = "(?P<text>[^"*]*)" \}')


def install() -> None:
    """Let the log groups of this process's moto have metric filters that work."""
    replace(LogStream, "put_log_events", _filtering(LogStream.put_log_events))


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that is not evaluated here.

    Raises:
        ValueError: It is of another kind.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"the filter pattern {pattern} is not evaluated here")


def metric_datum(
    pattern: str, transformation: Mapping[str, Any], message: str, timestamp: int
) -> dict[str, Any] | None:
    """Return what a filter makes of an event, as PutMetricData takes it; None where it does not match.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html: a value or a
    dimension that the event does not have makes no datum.
    """
    match = _PATTERN.fullmatch(pattern)
    event = _object(message)
    if match is None or event.get(match["key"]) != match["text"]:
        return None
    value = _value(event, transformation["metricValue"])
    dimensions = {name: _value(event, path) for name, path in transformation.get("dimensions", {}).items()}
    if not isinstance(value, int | float) or None in dimensions.values():
        return None
    return {
        "MetricName": transformation["metricName"],
        "Value": value,
        "Timestamp": datetime.fromtimestamp(timestamp / 1000, UTC).replace(tzinfo=None),  # as moto keeps it
        "Dimensions": [{"Name": name, "Value": str(each)} for name, each in dimensions.items()],
    }


def _filtering(put: Callable[..., str]) -> Callable[..., str]:
    def wrapper(stream: LogStream, log_events: Sequence[Mapping[str, Any]]) -> str:
        token = put(stream, log_events)
        filters = logs_backends[ACCOUNT][REGION].filters.get_matching_filters(log_group_name=stream.log_group.name)
        for event in log_events:
            for each in filters:
                for transformation in each["metricTransformations"]:
                    _publish(each["filterPattern"], transformation, event)
        return token

    return wrapper


def _publish(pattern: str, transformation: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    datum = metric_datum(pattern, transformation, event["message"], event["timestamp"])
    if datum:
        cloudwatch_backends[ACCOUNT][REGION].put_metric_data(transformation["metricNamespace"], [datum])


def _object(message: str) -> Mapping[str, Any]:
    try:
        event = json.loads(message)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _value(event: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - JSON
    return event.get(path.removeprefix("$.")) if path.startswith("$.") else json.loads(path)
