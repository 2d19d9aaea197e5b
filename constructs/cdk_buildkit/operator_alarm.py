"""An alarm that tells an operator what is wrong, what to do, and where the long answer is."""

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

RUNBOOK = "docs/runbooks/alarms.md"
"""In this repository: a section for each alarm."""

NOT_BREACHING = cloudwatch.TreatMissingData.NOT_BREACHING
BREACHING = cloudwatch.TreatMissingData.BREACHING


class OperatorAlarm(Construct):
    """An alarm without an invented name: CloudFormation's has the stack's, the architecture's and the id.

    Args:
        metric: What is watched.
        threshold: From here on, or above here, it is wrong.
        periods: So many of the metric's periods in a row must be wrong.
        words: What is wrong and what to do first.
        section: The runbook's section.
        topic: Who is told of it, and of its end. Default: nobody.
        comparison: How the metric is compared.
        missing: What a period without data counts as. Default: as good.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        metric: cloudwatch.IMetric,
        threshold: float,
        periods: int,
        words: str,
        section: str,
        topic: sns.ITopic | None,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        missing: cloudwatch.TreatMissingData = NOT_BREACHING,
    ) -> None:
        super().__init__(scope, id)
        self.alarm = cloudwatch.Alarm(
            self,
            "Resource",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
            alarm_description=f"{words} See {RUNBOOK}#{section}",
        )
        if topic:
            self.alarm.add_alarm_action(actions.SnsAction(topic))
            self.alarm.add_ok_action(actions.SnsAction(topic))
