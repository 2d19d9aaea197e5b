"""An alarm on a Lambda function of ours: it broke, or it answered a deployment with a failure."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit.builder_scaling import METRIC_NAMESPACE
from cdk_buildkit.handler_function import HandlerFunction
from cdk_buildkit.operator_alarm import OperatorAlarm

_PERIOD = Duration.minutes(5)


class FunctionAlarm(Construct):
    """Counts a function's errors, and the requests of CloudFormation that it answered with a failure.

    The latter are no errors of the function, and only in its log: `handlers/custom_resource.py`.

    Args:
        function: The function.
        words: What is wrong and what to do first.
        section: The runbook's section.
        topic: Who is told of it. Default: nobody.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        function: HandlerFunction,
        words: str,
        section: str,
        topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, id)
        logs.MetricFilter(
            self,
            "FailedRequests",
            log_group=function.log_group,
            filter_pattern=logs.FilterPattern.literal('{ $.event = "request_failed" }'),
            metric_namespace=METRIC_NAMESPACE,
            metric_name="FailedRequests",
            metric_value="1",
            dimensions={"Function": "$.function"},
        )
        failed = cloudwatch.Metric(
            namespace=METRIC_NAMESPACE,
            metric_name="FailedRequests",
            dimensions_map={"Function": function.function.function_name},
            statistic="Sum",
            period=_PERIOD,
        )
        self.alarm = OperatorAlarm(
            self,
            "Alarm",
            metric=cloudwatch.MathExpression(
                expression="FILL(errors, 0) + FILL(failed, 0)",
                using_metrics={"errors": function.function.metric_errors(period=_PERIOD), "failed": failed},
                label="Failures",
                period=_PERIOD,
            ),
            threshold=1,
            periods=1,
            words=words,
            section=section,
            topic=topic,
        ).alarm
