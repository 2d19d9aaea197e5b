"""What Lambda tells CloudWatch of an invocation: the lines that it printed, and whether it failed."""

import time
from datetime import UTC, datetime

from moto.awslambda.models import LambdaFunction
from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.models import logs_backends

from local.emulator.aws import ACCOUNT, REGION


def report(function: LambdaFunction, *, log_group: str, request_id: str, printed: str, is_error: bool) -> None:
    """Put an invocation's lines into its log group, in a stream of its own, and its end into the namespace AWS/Lambda.

    A log group that is not there gets nothing.
    """
    now = datetime.now(UTC)
    groups = logs_backends[ACCOUNT][REGION]
    if log_group in groups.groups:
        stream = f"{now:%Y/%m/%d}/[{function.version}]{request_id}"
        groups.create_log_stream(log_group, stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in printed.splitlines() if line]
        groups.put_log_events(log_group, stream, events)
    cloudwatch_backends[ACCOUNT][REGION].put_metric_data(
        "AWS/Lambda",
        [
            {
                "MetricName": name,
                "Value": value,
                "Timestamp": now.replace(tzinfo=None),  # as moto keeps it
                "Dimensions": [{"Name": "FunctionName", "Value": function.function_name}],
            }
            for name, value in {"Invocations": 1, "Errors": int(is_error)}.items()
        ],
    )
