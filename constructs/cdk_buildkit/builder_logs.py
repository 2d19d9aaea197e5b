"""Where a fleet's builders send their logs."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

RETENTION_DAYS = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    5: logs.RetentionDays.FIVE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    120: logs.RetentionDays.FOUR_MONTHS,
    150: logs.RetentionDays.FIVE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    400: logs.RetentionDays.THIRTEEN_MONTHS,
    545: logs.RetentionDays.EIGHTEEN_MONTHS,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}
"""What CloudWatch Logs keeps a line for, by days; there are further ones between two and ten years."""


class BuilderLogs(Construct):
    """One log group, with a stream for each builder that is named by its instance id.

    A stream has what `host/loader.sh` printed at the boot, and what buildkitd and the builder's other units log, each
    line a JSON object with the keys `unit`, `fleet` and `architecture`.

    Args:
        retention: How long a line is kept.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, id)
        self.log_group = logs.LogGroup(self, "Resource", retention=retention, removal_policy=RemovalPolicy.DESTROY)

    def grant_send(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let builders make streams in this log group and write to them, and read nothing."""
        return self.log_group.grant_write(grantee)
