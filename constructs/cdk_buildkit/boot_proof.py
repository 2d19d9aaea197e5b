"""Proves at a deploy that a fleet's builders boot, before any running builder is replaced."""

from aws_cdk import ArnFormat, CfnResource, CustomResource, Duration, Stack, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects
from cdk_buildkit.builder_group import SUBNETS
from cdk_buildkit.builder_launch_template import BuilderLaunchTemplate
from cdk_buildkit.builder_lifecycle import BOOT_TIMEOUT, BuilderLifecycle
from cdk_buildkit.handler_function import HandlerFunction

_LAUNCH_SECONDS = 240
_BOOT_SECONDS = int(BOOT_TIMEOUT.to_seconds()) + 120  # the hook's time begins when the instance runs
_REMOVAL_SECONDS = 60
_TAG = "cdk-buildkit:proof"
"""Builders that have it, `host/loader.sh` sees, publish and log under another fleet's name."""

_LONGEST_CALL = Duration.minutes(15)  # Lambda's own: a boot, and a removal before and after it
_ANSWER_SECONDS = int(_LONGEST_CALL.to_seconds()) + 60


class BootProof(Construct):
    """For each architecture a second Auto Scaling group, empty but for a proof, and what starts one builder there.

    That builder is launched as every other is: from the same launch template and instance types, in the same subnets,
    with the same role, tags and launching hook, which it answers once it serves or when its boot fails. It joins no
    target group. A deploy fails when it does not serve, and what depends on the proof stays as it was.

    A proof is made when the launch template, the instance types, the purchase option or the subnets have changed. The
    AMI that `latest` stands for changes without a deploy, and so without a proof.

    Args:
        vpc: Where the builders run, in its private subnets with egress.
        lifecycle: How the fleet's builders enter.
        role: The fleet's role, without whose permissions no builder boots.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        vpc: ec2.IVpc,
        lifecycle: BuilderLifecycle,
        role: iam.IRole,
    ) -> None:
        super().__init__(scope, id)
        self._vpc = vpc
        self._lifecycle = lifecycle
        self._role = role
        self._prover = HandlerFunction(
            self,
            "Prover",
            handler="proof",
            description="Boots a BuildKit builder of a new launch template at a deploy, and removes it",
            environment={
                "LAUNCH_SECONDS": str(_LAUNCH_SECONDS),
                "BOOT_SECONDS": str(_BOOT_SECONDS),
                "REMOVAL_SECONDS": str(_REMOVAL_SECONDS),
                "POLL_SECONDS": "5",
            },
            timeout=_LONGEST_CALL,
        )
        # These take no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
        # and https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
        iam.Grant.add_to_principal(
            grantee=self._prover,
            actions=[
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeLaunchTemplateVersions",
            ],
            resource_arns=["*"],
        )
        acknowledge(self._prover.role, "IAM5[Resource::*]", "The calls that describe groups and launch templates.")

    def prove(self, architecture: Architecture, launch_template: BuilderLaunchTemplate) -> CustomResource:
        """Return the proof that builders boot from a launch template, for others to depend on."""
        subnets = self._vpc.select_subnets(subnet_type=SUBNETS.subnet_type)
        group = self._create_group(architecture, launch_template)
        self._grant_set_capacity(group)
        proof = CustomResource(
            self,
            architecture.construct_id,
            service_token=self._prover.function.function_arn,
            properties={
                "AutoScalingGroup": group.auto_scaling_group_name,
                # The function reads from the group what it launches; these make CloudFormation call it.
                "LaunchTemplateVersion": launch_template.launch_template.latest_version_number,
                "InstanceTypes": list(launch_template.instance_types),
                "Spot": launch_template.spot,
                "Subnets": subnets.subnet_ids,
            },
        )
        resource = proof.node.default_child
        assert isinstance(resource, CfnResource)  # noqa: S101 - for the type checker
        # CDK writes its `service_timeout` as a string, of which CloudFormation's schema disapproves.
        resource.add_property_override("ServiceTimeout", _ANSWER_SECONDS)
        # A VPC of the same stack gets its routes after its subnets.
        proof.node.add_dependency(subnets.internet_connectivity_established)
        return proof

    def _create_group(
        self, architecture: Architecture, launch_template: BuilderLaunchTemplate
    ) -> autoscaling.AutoScalingGroup:
        group = autoscaling.AutoScalingGroup(
            self,
            f"{architecture.construct_id}Group",
            vpc=self._vpc,
            vpc_subnets=SUBNETS,
            min_capacity=0,
            max_capacity=1,
            mixed_instances_policy=launch_template.mixed_instances_policy(),
        )
        group.node.add_dependency(self._role)
        self._lifecycle.manage_without_builds(group)
        Tags.of(group).add("Name", group.node.path)
        Tags.of(group).add(_TAG, "true")
        acknowledge(
            group,
            "EC26",
            "The rule fails on a group with a mixed instances policy, whose launch template it cannot find. Every "
            "volume in that template is encrypted.",
        )
        acknowledge(group, "AS3", "It scales at a deploy alone, whose own events say how the proof went.")
        return group

    def _grant_set_capacity(self, group: autoscaling.AutoScalingGroup) -> None:
        arn = Stack.of(self).format_arn(
            service="autoscaling",
            resource="autoScalingGroup",
            resource_name=f"*:autoScalingGroupName/{group.auto_scaling_group_name}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        acknowledge_objects(self._prover, arn, "CloudFormation gives a group's name; the wildcard is its UUID.")
        iam.Grant.add_to_principal(
            grantee=self._prover, actions=["autoscaling:SetDesiredCapacity"], resource_arns=[arn]
        )
