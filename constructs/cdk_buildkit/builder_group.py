"""The Auto Scaling groups of a fleet's builders of one architecture: one, and one on demand beside spot capacity."""

from aws_cdk import Duration, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_launch_template import BuilderLaunchTemplate
from cdk_buildkit.builder_lifecycle import JOINING, BuilderLifecycle
from cdk_buildkit.builder_scaling import BuilderScaling
from cdk_buildkit.group_scaling import GroupScaling

SUBNETS = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
"""Where builders run."""


class BuilderGroup(Construct):
    """Builders behind a target group, which are replaced by launching before terminating, whatever the cause.

    Args:
        vpc: Where they run, in its private subnets with egress.
        architecture: Their architecture.
        launch_template: What they are launched from.
        capacity: How many there are, and whether they run on spot capacity.
        scaling: How they come and go.
        fleet: The fleet's domain name.
        lifecycle: How they enter and leave.
        target_group: Where clients find them.
        max_instance_lifetime: The age at which one is replaced.

    `group` follows the builds. `fallback_group` is there beside spot capacity, for `SpotFallback` to raise.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        vpc: ec2.IVpc,
        architecture: Architecture,
        launch_template: BuilderLaunchTemplate,
        capacity: BuilderCapacity,
        scaling: BuilderScaling,
        fleet: str,
        lifecycle: BuilderLifecycle,
        target_group: elbv2.INetworkTargetGroup,
        max_instance_lifetime: Duration,
    ) -> None:
        super().__init__(scope, id)
        self._vpc = vpc
        self._launch_template = launch_template
        self._max_capacity = capacity.max_capacity
        self._lifecycle = lifecycle
        self._target_group = target_group
        self._max_instance_lifetime = max_instance_lifetime
        self.group = self._add_group("Resource", min_capacity=capacity.min_capacity, spot=capacity.spot)
        self.fallback_group = (
            self._add_group("Fallback", min_capacity=0, spot=False, on_demand=True)
            if capacity.spot and scaling.on_demand_fallback
            else None
        )
        GroupScaling(
            self,
            "Scaling",
            group=self.group,
            capacity=capacity,
            scaling=scaling,
            fleet=fleet,
            architecture=architecture,
        )

    def _add_group(
        self, construct_id: str, *, min_capacity: int, spot: bool, on_demand: bool = False
    ) -> autoscaling.AutoScalingGroup:
        group = autoscaling.AutoScalingGroup(
            self,
            construct_id,
            vpc=self._vpc,
            vpc_subnets=SUBNETS,
            min_capacity=min_capacity,
            max_capacity=self._max_capacity,
            mixed_instances_policy=self._launch_template.mixed_instances_policy(on_demand=on_demand),
            # EC2's checks alone: a builder that drains, or has as many builds as it takes, is unhealthy to the load
            # balancer and must live on.
            health_checks=autoscaling.HealthChecks.ec2(grace_period=Duration.minutes(5)),
            min_healthy_percentage=100,
            max_healthy_percentage=200,
            default_instance_warmup=JOINING,
            update_policy=BuilderLifecycle.update_policy(),
            max_instance_lifetime=self._max_instance_lifetime,
            # At a rebalance recommendation the replacement comes first, and only then does the builder drain.
            capacity_rebalance=spot,
            # What the alarms compare. They cost nothing, and are off by default.
            group_metrics=[
                autoscaling.GroupMetrics(
                    autoscaling.GroupMetric.DESIRED_CAPACITY,
                    autoscaling.GroupMetric.IN_SERVICE_INSTANCES,
                    autoscaling.GroupMetric.MAX_SIZE,
                    *([autoscaling.GroupMetric.MIN_SIZE] if on_demand else []),
                )
            ],
        )
        self._lifecycle.manage(group)
        group.attach_to_network_target_group(self._target_group)
        Tags.of(group).add("Name", self.node.path)
        acknowledge(
            group,
            "EC26",
            "The rule fails on a group with a mixed instances policy, whose launch template it cannot find. Every "
            "volume in that template is encrypted.",
        )
        acknowledge(
            group,
            "AS3",
            "Builders come and go all day; nobody would read a message about each. The group's activity history and "
            "EventBridge have every scaling event without a topic.",
        )
        return group
