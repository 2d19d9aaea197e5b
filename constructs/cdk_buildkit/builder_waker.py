"""What wakes a fleet: builders that are not there publish nothing, so nothing else would start the first."""

from collections.abc import Mapping

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects
from cdk_buildkit.builder_scaling import BuilderScaling
from cdk_buildkit.handler_function import HandlerFunction


class BuilderWaker(Construct):
    """A Lambda function that raises the desired capacity of a fleet's groups to what waiting jobs call for.

    It is called with `{"waiting_jobs": {"arm64": 3}}`, and says how many builders are in service and coming: ask again
    until one is there. Any number of calls at once, of any size, are as the largest of them; no call lowers anything.

    Args:
        groups: The group of each architecture.
        fallback_groups: The group beside it that has what it could not launch. Default: none.
        scaling: The fleet's scaling parameters.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        groups: Mapping[Architecture, autoscaling.AutoScalingGroup],
        fallback_groups: Mapping[Architecture, autoscaling.AutoScalingGroup] | None = None,
        scaling: BuilderScaling,
    ) -> None:
        super().__init__(scope, id)
        self.locks = dynamodb.Table(
            self,
            "Locks",
            partition_key=dynamodb.Attribute(name="group", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(self.locks, "DDB3", "It holds who is at work for a second, and nothing that anyone would restore.")
        names: dict[str, list[str]] = {
            each.value: [
                group[each].auto_scaling_group_name for group in (groups, fallback_groups or {}) if each in group
            ]
            for each in groups
        }
        self._handler = HandlerFunction(
            self,
            "Function",
            handler="wake",
            description="Wakes BuildKit builders for waiting jobs",
            environment={
                "GROUPS": Stack.of(self).to_json_string(names),
                "BUILDS_PER_BUILDER": str(scaling.target_builds_per_builder),
                "LOCK_TABLE": self.locks.table_name,
            },
            timeout=Duration.seconds(40),
        )
        self.function = self._handler.function
        self.locks.grant(self._handler, "dynamodb:UpdateItem")
        for group in groups.values():
            arn = Stack.of(self).format_arn(
                service="autoscaling",
                resource="autoScalingGroup",
                resource_name=f"*:autoScalingGroupName/{group.auto_scaling_group_name}",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            iam.Grant.add_to_principal(
                grantee=self._handler, actions=["autoscaling:SetDesiredCapacity"], resource_arns=[arn]
            )
            acknowledge_objects(self._handler, arn, "The wildcard is an id that the named group has beside its name.")
        # These take no resource:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
        iam.Grant.add_to_principal(
            grantee=self._handler,
            actions=["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities"],
            resource_arns=["*"],
        )
        acknowledge(
            self._handler.role, "IAM5[Resource::*]", "Describing groups and their activities takes no resource."
        )

    def grant_wake(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal call the function."""
        versions = f"{self.function.function_arn}:*"
        acknowledge_objects(grantee, versions, "The wildcard is the function's own versions and aliases.")
        return self.function.grant_invoke(grantee)
