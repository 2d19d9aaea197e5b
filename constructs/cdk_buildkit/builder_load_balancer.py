"""The one address of a fleet: an internal network load balancer with a port per architecture."""

from datetime import timedelta

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge

BUILDKIT_PORT = 1234
"""The port on which buildkitd listens on every builder."""

HEALTH_PORT = 1236
"""The port on which the host agent says whether its builder takes new builds."""

HEALTH_PATH = "/health"

HEALTH_CHECK_INTERVAL = Duration.seconds(5)
"""The shortest that a network load balancer allows. Two checks decide: a builder that has become full gets new builds
for some ten seconds more."""

LONGEST_TCP_IDLE = Duration.seconds(6000)
"""The longest that a network load balancer allows: a build may be silent for as long as one RUN step."""

LONGEST_DEREGISTRATION_DELAY = timedelta(hours=1)
"""The longest that a target group allows
(https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html)."""


class BuilderLoadBalancer(Construct):
    """A TCP load balancer that never cuts a running build, and the fleet's private DNS name for it.

    It passes TLS through: buildkitd itself checks the clients. One build is one HTTP/2 connection, so balancing
    connections balances builds.

    Args:
        vpc: Where it listens, in the private subnets.
        longest_build: How long a builder that is unhealthy or deregistered keeps its connections.
        zone: The private hosted zone that holds the fleet's name.
        record_name: The fleet's name in the zone.
        target_type: What a builder is to it: an instance, or a pod by its address.

    Raises:
        ValueError: `longest_build` is longer than a deregistered target can be kept.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        vpc: ec2.IVpc,
        longest_build: timedelta,
        zone: route53.IPrivateHostedZone,
        record_name: str,
        target_type: elbv2.TargetType = elbv2.TargetType.INSTANCE,
    ) -> None:
        super().__init__(scope, id)
        if longest_build > LONGEST_DEREGISTRATION_DELAY:
            raise ValueError(
                f"longest_build is at most {LONGEST_DEREGISTRATION_DELAY}, as long as a load balancer keeps a builder "
                f"that leaves; got {longest_build}: lower it"
            )
        self._vpc = vpc
        self._longest_build = longest_build
        self._target_type = target_type
        self.security_group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="Clients of the builders", allow_all_outbound=False
        )
        self.load_balancer = elbv2.NetworkLoadBalancer(
            self,
            "Resource",
            vpc=vpc,
            internet_facing=False,
            cross_zone_enabled=True,
            security_groups=[self.security_group],
        )
        acknowledge(
            self.load_balancer,
            "ELB2",
            "A network load balancer logs the requests of TLS listeners only; these pass TCP through to buildkitd: "
            "https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html",
        )
        self.domain_name = f"{record_name}.{zone.zone_name}"
        route53.ARecord(
            self,
            "Record",
            zone=zone,
            record_name=record_name,
            target=route53.RecordTarget.from_alias(route53_targets.LoadBalancerTarget(self.load_balancer)),
        )

    def add_target_group(self, architecture: Architecture) -> elbv2.NetworkTargetGroup:
        """Listen on the architecture's port, and return the target group that its builders join."""
        group = elbv2.NetworkTargetGroup(
            self,
            f"{architecture.construct_id}Targets",
            vpc=self._vpc,
            port=BUILDKIT_PORT,
            protocol=elbv2.Protocol.TCP,
            target_type=self._target_type,
            connection_termination=False,
            deregistration_delay=Duration.seconds(int(self._longest_build.total_seconds())),
            # The agent's answer, not the daemon's port: that is open on a full builder too, and each check of it would
            # count as a build.
            health_check=elbv2.HealthCheck(
                protocol=elbv2.Protocol.HTTP,
                port=str(HEALTH_PORT),
                path=HEALTH_PATH,
                interval=HEALTH_CHECK_INTERVAL,
                timeout=Duration.seconds(3),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
                healthy_http_codes="200",
            ),
        )
        # A builder that drains, or has as many builds as it takes, is unhealthy while its builds run. Once it answers
        # again, it gets new ones before the interval is over: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health.html
        group.set_attribute("target_health_state.unhealthy.connection_termination.enabled", "false")
        group.set_attribute(
            "target_health_state.unhealthy.draining_interval_seconds", str(int(self._longest_build.total_seconds()))
        )
        self.load_balancer.add_listener(
            f"{architecture.construct_id}Listener",
            port=architecture.port,
            protocol=elbv2.Protocol.TCP,
            tcp_idle_timeout=LONGEST_TCP_IDLE,
            default_target_groups=[group],
        )
        return group
