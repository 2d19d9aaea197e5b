"""How builders enter and leave an Auto Scaling group without losing a build: hooks, replacement, their own calls."""

import re
from collections.abc import Mapping, Sequence

import jsii
from aws_cdk import ArnFormat, Aws, Duration, Stack, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam
from constructs import Construct, IValidation

from cdk_buildkit.acknowledgements import acknowledge_objects

LAUNCHING_HOOK = "boot"
TERMINATING_HOOK = "drain"

BOOT_TIMEOUT = Duration.minutes(10)
"""A builder that has not said by then that it serves is replaced."""

HEARTBEAT_TIMEOUT = Duration.minutes(15)
"""How long a host that died in a drain is waited for. Auto Scaling allows 100 of them, or 48 hours, in all
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html): longer than any drain."""

SETTLING = Duration.minutes(2)
"""How long a builder goes on serving once it is deregistered. A deregistered target "might still receive connections
due to configuration propagation delay"
(https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html); AWS states no
bound. Two minutes are what users measured: aws/containers-roadmap#470 and
kubernetes-sigs/aws-load-balancer-controller#2366."""

JOINING = Duration.minutes(3)
"""How long a new builder is waited for, once it is in service, before an old one goes: the load balancer learns of it
only then, and checks its health first."""

_FLEET_TAG = "cdk-buildkit:fleet"

_METADATA_TAG_KEY = re.compile(r"(?!(\.{1,2}|_index)$)[0-9A-Za-z+=.,_:@-]+")
"""A key that an instance may have whose metadata has its tags
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html)."""


_Hook = autoscaling.CfnAutoScalingGroup.LifecycleHookSpecificationProperty
_LAUNCHING = _Hook(
    lifecycle_hook_name=LAUNCHING_HOOK,
    lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
    default_result="ABANDON",
    heartbeat_timeout=int(BOOT_TIMEOUT.to_seconds()),
)
_TERMINATING = _Hook(
    lifecycle_hook_name=TERMINATING_HOOK,
    lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
    # Either result ends the instance. ABANDON would drop the hooks that an operator has added.
    default_result="CONTINUE",
    heartbeat_timeout=int(HEARTBEAT_TIMEOUT.to_seconds()),
)


class BuilderLifecycle(Construct):
    """What the Auto Scaling groups of one fleet have in common, so that builds outlive their builder's place in it.

    Every end of a builder passes the terminating hook, where `host/drain.py` lets its builds end. Every start passes
    the launching hook: the host answers CONTINUE once it serves, ABANDON when its boot fails, and is then replaced.
    User data, and with it that answer, is of the first boot alone: a builder that does not serve after a reboot, or
    whose daemon ends for good, reports itself as unhealthy and is replaced too.
    A deploy is an instance refresh, which CloudFormation starts itself when the launch template changes
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html).
    It launches before it terminates, as the maintenance policy has every other replacement do, within a healthy
    percentage of 100 to 200; when new builders do not boot it fails, and the stack rolls back.
    """

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - the name that every construct gives it
        super().__init__(scope, id)
        # A group's name is unknown before it is there, and it cannot be there before its launch template and role.
        self._tag = f"{Aws.STACK_NAME}/{self.node.addr}"

    @staticmethod
    def update_policy() -> autoscaling.UpdatePolicy:
        """How a deploy replaces builders."""
        return autoscaling.UpdatePolicy.instance_refresh(
            strategy=autoscaling.InstanceRefreshStrategy.ROLLING,
            min_healthy_percentage=100,
            max_healthy_percentage=200,
            instance_warmup=JOINING,
            skip_matching=True,
        )

    @staticmethod
    def host_environment(target_group: elbv2.INetworkTargetGroup) -> Mapping[str, str]:
        """Return what `host/drain.py` and `host/loader.sh` read."""
        return {
            "TARGET_GROUP": target_group.target_group_arn,
            "LAUNCHING_HOOK": LAUNCHING_HOOK,
            "TERMINATING_HOOK": TERMINATING_HOOK,
            "HEARTBEAT_SECONDS": str(HEARTBEAT_TIMEOUT.to_seconds() // 3),
            "SETTLING_SECONDS": str(SETTLING.to_seconds()),
        }

    def manage(self, group: autoscaling.AutoScalingGroup) -> None:
        """Put both hooks on a group, and let it be known as one of this fleet's."""
        self._add_hooks(group, [_LAUNCHING, _TERMINATING])

    def manage_without_builds(self, group: autoscaling.AutoScalingGroup) -> None:
        """Do the same to a group whose builders no client reaches: they need not wait for builds at their end."""
        self._add_hooks(group, [_LAUNCHING])

    def _add_hooks(self, group: autoscaling.AutoScalingGroup, hooks: Sequence[_Hook]) -> None:
        resource = group.node.default_child
        assert isinstance(resource, autoscaling.CfnAutoScalingGroup)  # noqa: S101 - for the type checker
        # In the group itself: hooks that are resources of their own come after its first instances.
        resource.lifecycle_hook_specification_list = list(hooks)
        Tags.of(group).add(_FLEET_TAG, self._tag, apply_to_launched_instances=False)
        group.node.add_validation(_TagKeys(resource))

    def grant_membership(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let builders answer the hooks of this fleet's own groups, retire, and ask for their replacement.

        The groups' tag tells them from all others. Each of these calls takes it as a condition:
        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
        """
        groups = Stack.of(self).format_arn(
            service="autoscaling",
            resource="autoScalingGroup",
            resource_name="*:autoScalingGroupName/*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        acknowledge_objects(
            grantee,
            groups,
            "A group's name is unknown until it is there: the condition on the fleet's tag stands for it.",
        )
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[
                "autoscaling:CompleteLifecycleAction",
                "autoscaling:RecordLifecycleActionHeartbeat",
                "autoscaling:SetInstanceHealth",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
            ],
            resource_arns=[groups],
            conditions={"StringEquals": {f"aws:ResourceTag/{_FLEET_TAG}": self._tag}},
        )

    @staticmethod
    def grant_leave(target_group: elbv2.INetworkTargetGroup, grantee: iam.IGrantable) -> iam.Grant:
        """Let builders leave a target group, and see that they have."""
        # DescribeTargetHealth takes no resource:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
        seeing = iam.Grant.add_to_principal(
            grantee=grantee, actions=["elasticloadbalancing:DescribeTargetHealth"], resource_arns=["*"]
        )
        return seeing.combine(
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=["elasticloadbalancing:DeregisterTargets"],
                resource_arns=[target_group.target_group_arn],
            )
        )


@jsii.implements(IValidation)
class _TagKeys:
    """Refuses tags with which EC2 would refuse every builder; they may come from anywhere above the group."""

    def __init__(self, group: autoscaling.CfnAutoScalingGroup) -> None:
        self._group = group

    @jsii.member(jsii_name="validate")
    def validate(self) -> list[str]:
        return [
            "a builder reads its group's name from its tags, so their keys are letters, digits and +-=.,_:@ alone; "
            f"got {key!r}: rename it, or keep it from the fleet with Tags.of(fleet).remove({key!r})"
            for key in self._group.tags.tag_values()
            if not _METADATA_TAG_KEY.fullmatch(key)
        ]
