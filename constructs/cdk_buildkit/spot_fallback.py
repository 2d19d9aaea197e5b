"""What launches on demand the builders that spot capacity has not."""

from collections.abc import Mapping

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects
from cdk_buildkit.handler_function import HandlerFunction


class SpotFallback(Construct):
    """A Lambda function that hears of failed launches, and lets the other group have what could not be launched.

    Of a group on spot capacity, for which Auto Scaling has found none in any type and zone; of the group on demand
    beside it likewise. What is wanted on demand is not wanted on spot capacity any more, so that more builders are
    looked for there first; an idle builder on demand ends itself as every other does.

    Args:
        groups: The group of each architecture.
        fallback_groups: The group on demand beside it; an architecture without one is left out.
        locks: Where changes of the groups take turns.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        groups: Mapping[Architecture, autoscaling.AutoScalingGroup],
        fallback_groups: Mapping[Architecture, autoscaling.AutoScalingGroup],
        locks: dynamodb.ITable,
    ) -> None:
        super().__init__(scope, id)
        pairs = [
            [groups[each].auto_scaling_group_name, fallback.auto_scaling_group_name]
            for each, fallback in fallback_groups.items()
        ]
        handler = HandlerFunction(
            self,
            "Function",
            handler="fallback",
            description="Launches BuildKit builders on demand when spot capacity has none",
            environment={"GROUPS": Stack.of(self).to_json_string(pairs), "LOCK_TABLE": locks.table_name},
            timeout=Duration.seconds(40),
        )
        self.function = handler.function
        locks.grant(handler, "dynamodb:UpdateItem")
        for spot, on_demand in pairs:
            self._grant(handler, spot, "autoscaling:SetDesiredCapacity")
            # The minimum too, which SetDesiredCapacity does not take. What is launched it cannot change: that needs
            # ec2:RunInstances and iam:PassRole beside it.
            self._grant(handler, on_demand, "autoscaling:UpdateAutoScalingGroup")
        # It takes no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
        iam.Grant.add_to_principal(
            grantee=handler, actions=["autoscaling:DescribeAutoScalingGroups"], resource_arns=["*"]
        )
        acknowledge(handler.role, "IAM5[Resource::*]", "Describing groups takes no resource.")
        events.Rule(
            self,
            "Launches",
            description="Builders that were launched, and builders that could not be",
            event_pattern=events.EventPattern(
                source=["aws.autoscaling"],
                detail_type=["EC2 Instance Launch Successful", "EC2 Instance Launch Unsuccessful"],
                detail={"AutoScalingGroupName": [name for pair in pairs for name in pair]},
            ),
            targets=[targets.LambdaFunction(self.function)],
        )

    def _grant(self, handler: HandlerFunction, group: str, action: str) -> None:
        arn = Stack.of(self).format_arn(
            service="autoscaling",
            resource="autoScalingGroup",
            resource_name=f"*:autoScalingGroupName/{group}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        iam.Grant.add_to_principal(grantee=handler, actions=[action], resource_arns=[arn])
        acknowledge_objects(handler, arn, "The wildcard is an id that the named group has beside its name.")
