"""A fleet of BuildKit builders on EC2: one trust tier, with a role, an address and a cache scope of its own."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import jsii
from aws_cdk import Duration, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.boot_proof import BootProof
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_certificates import BuilderCertificates
from cdk_buildkit.builder_group import BuilderGroup
from cdk_buildkit.builder_host import BuilderHost
from cdk_buildkit.builder_launch_template import BuilderLaunchTemplate
from cdk_buildkit.builder_lifecycle import BuilderLifecycle
from cdk_buildkit.builder_load_balancer import BUILDKIT_PORT, HEALTH_PORT, BuilderLoadBalancer
from cdk_buildkit.builder_logs import BuilderLogs
from cdk_buildkit.builder_scaling import METRIC_NAMESPACE, BuilderScaling
from cdk_buildkit.builder_waker import BuilderWaker
from cdk_buildkit.cache_bucket import CacheBucket
from cdk_buildkit.cache_names import CacheNames
from cdk_buildkit.client_grant import grant_client
from cdk_buildkit.group_scaling import GroupScaling
from cdk_buildkit.release_bucket import ReleaseBucket
from cdk_buildkit.session_grant import grant_session
from cdk_buildkit.spot_fallback import SpotFallback
from cdk_buildkit.store_volume import StoreVolume

_SESSION_MANAGER_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


@jsii.implements(iam.IGrantable, ec2.IConnectable)
class Ec2BuilderFleet(Construct):
    """BuildKit on Auto Scaling groups, one for each architecture, behind one internal address.

    Clients reach `domain_name` with mutual TLS, on the port of the architecture that they build for, from where
    `connections` admits them and with the certificate that `grant_connect` lets them fetch. They hold no cache
    credential: the builders' role reads and writes the cache.

    Args:
        vpc: Where the builders run, in its private subnets with egress.
        zone: The private hosted zone for the fleet's name.
        record_name: The fleet's name in the zone.
        caches: The cache bucket of each architecture. The fleet has builders of exactly these architectures.
        write: The scope that the fleet exports to and imports from. One fleet a scope: that is the trust tier.
        read: Further scopes that it may import from. Who reads a scope sees its sources: `mode=max` holds every
            stage. Default: none.
        certificates: The fleet's certificate authority and certificates, for its name and no other fleet's. Default:
            new ones.
        capacities: Capacity and instance types of each architecture. Default: `BuilderCapacity()` for each.
        scaling: How the builders come and go. Default: `BuilderScaling()`.
        longest_build: The longest build that a builder is kept for.
        max_instance_lifetime: The age at which a builder is replaced, 1 to 365 days: what renews its certificate and
            its AMI's updates. Short enough that no builder outlives its certificate.
        store_volume: The volume for the store of instance types without local NVMe. Default: `StoreVolume()`.
        releases: The BuildKit that they run, and where they fetch it from. Default: a bucket of the fleet's own.
        prove_boot: At a deploy that changes what they are launched from, first boot one builder more and end it; when
            it does not come to serve, the deploy fails and the running builders stay.
        log_retention: How long their logs are kept.

    Raises:
        ValueError: There is no cache, a capacity is given for an architecture without a cache, an instance type is
            of another architecture, the scaling parameters do not fit the capacities, a scope is not in the buckets,
            an architecture's archive is not in `releases`, the certificates are for another name, or builders could
            outlive them.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        vpc: ec2.IVpc,
        zone: route53.IPrivateHostedZone,
        record_name: str,
        caches: Mapping[Architecture, CacheBucket],
        write: CacheScope,
        read: Sequence[CacheScope] = (),
        certificates: BuilderCertificates | None = None,
        capacities: Mapping[Architecture, BuilderCapacity] | None = None,
        scaling: BuilderScaling | None = None,
        longest_build: timedelta = timedelta(hours=1),
        max_instance_lifetime: Duration = Duration.days(14),  # noqa: B008 - an immutable value
        store_volume: StoreVolume | None = None,
        releases: ReleaseBucket | None = None,
        prove_boot: bool = True,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
    ) -> None:
        super().__init__(scope, id)
        self.architectures = tuple(caches)
        self.caches = dict(caches)
        self.write = write
        self._capacities = {each: BuilderCapacity() for each in caches} | dict(capacities or {})
        if not caches or set(self._capacities) > set(caches):
            raise ValueError(
                "a fleet has builders of the architectures that it has a cache for; got caches for "
                f"{[each.value for each in caches]}, capacities for {[each.value for each in capacities or {}]}: "
                "give a CacheBucket for each architecture"
            )
        self.vpc = vpc
        self._releases = releases or ReleaseBucket(self, "Releases", architectures=self.architectures)
        self.scaling = scaling or BuilderScaling()
        self._store_volume = store_volume or StoreVolume()
        self._longest_build = longest_build
        self._max_instance_lifetime = max_instance_lifetime

        self._load_balancer = BuilderLoadBalancer(
            self, "LoadBalancer", vpc=vpc, longest_build=longest_build, zone=zone, record_name=record_name
        )
        self.domain_name = self._load_balancer.domain_name
        self.certificates = certificates or BuilderCertificates(self, "Certificates", domain_name=self.domain_name)
        self._check_certificates()
        self._host = BuilderHost(self, "Host")
        self.logs = BuilderLogs(self, "Logs", retention=log_retention)
        self._lifecycle = BuilderLifecycle(self, "Lifecycle")
        self.role = self._create_role()
        for cache in caches.values():
            cache.grant_read_write(write, self.role)
            for each in read:
                cache.grant_read(each, self.role)

        self._security_group = ec2.SecurityGroup(self, "SecurityGroup", vpc=vpc, description="BuildKit builders")
        self._security_group.connections.allow_from(
            self._load_balancer.security_group, ec2.Port.tcp(BUILDKIT_PORT), "Clients, through the load balancer"
        )
        self._security_group.connections.allow_from(
            self._load_balancer.security_group, ec2.Port.tcp(HEALTH_PORT), "Health checks"
        )
        ports = [architecture.port for architecture in caches]
        # One object for good: the CDK keeps in it, between two calls, in which stack a rule belongs.
        self._connections = ec2.Connections(
            security_groups=[self._load_balancer.security_group],
            default_port=ec2.Port.tcp_range(min(ports), max(ports)),
        )
        self._boot_proof = (
            BootProof(self, "BootProof", vpc=vpc, lifecycle=self._lifecycle, role=self.role) if prove_boot else None
        )
        self.groups: dict[Architecture, autoscaling.AutoScalingGroup] = {}
        self.fallback_groups: dict[Architecture, autoscaling.AutoScalingGroup] = {}
        self.target_groups: dict[Architecture, elbv2.NetworkTargetGroup] = {}
        for architecture, cache in caches.items():
            self._add_builders(architecture, cache)
        self.waker = BuilderWaker(
            self, "Waker", groups=self.groups, fallback_groups=self.fallback_groups, scaling=self.scaling
        )
        self.cache_names = CacheNames(self, "CacheNames", caches=caches, write=write, read=read)
        self.spot_fallback = (
            SpotFallback(
                self,
                "SpotFallback",
                groups=self.groups,
                fallback_groups=self.fallback_groups,
                locks=self.waker.locks,
            )
            if self.fallback_groups
            else None
        )

    @property
    @jsii.member(jsii_name="grantPrincipal")
    def grant_principal(self) -> iam.IPrincipal:
        """The builders' role."""
        return self.role

    @property
    @jsii.member(jsii_name="connections")
    def connections(self) -> ec2.Connections:
        """Who may reach the fleet; the default port covers every architecture. Nobody may at first."""
        return self._connections

    def grant_connect(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a client do what `cdk-buildkit connect` does, waking apart; `connections` must admit it too.

        It may read the client certificate, ask which cache to import, and read the outputs of the fleet's stack.
        """
        return grant_client(self, grantee, certificates=self.certificates, cache_names=self.cache_names)

    def grant_wake(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal wake builders for the jobs that it has waiting, by calling `waker.function`."""
        return self.waker.grant_wake(grantee)

    def grant_session(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal outside the VPC reach builders through Session Manager: `cdk-buildkit connect --through-ssm`.

        It may forward a port of a builder, and start no shell. It needs `grant_connect` and `grant_wake` too.
        """
        groups = [*self.groups.values(), *self.fallback_groups.values()]
        return grant_session(self, grantee, groups=groups)

    def _check_certificates(self) -> None:
        if self.certificates.domain_name != self.domain_name:
            raise ValueError(
                f"a fleet's certificates are for its own name, {self.domain_name}; got certificates for "
                f"{self.certificates.domain_name}: give them this domain_name, or leave certificates out"
            )
        self.certificates.check_instance_lifetime(self._max_instance_lifetime)

    def _create_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="BuildKit builders: their cache scopes, certificate and host files, metrics, Session Manager",
        )
        self._host.grant_boot(role)
        self._releases.grant_read(role)
        self.logs.grant_send(role)
        self.certificates.grant_serve(role)
        self._lifecycle.grant_membership(role)
        # A metric is no resource; the namespace takes its place.
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["cloudwatch:PutMetricData"],
            resource_arns=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
        )
        # AWS's managed policy for Session Manager would add parameters, patches and inventory. These calls take no
        # resource: https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
        iam.Grant.add_to_principal(grantee=role, actions=list(_SESSION_MANAGER_ACTIONS), resource_arns=["*"])
        acknowledge(
            role,
            "IAM5[Resource::*]",
            "Session Manager's calls, DescribeTargetHealth and PutMetricData take no resource.",
        )
        return role

    def _add_builders(self, architecture: Architecture, cache: CacheBucket) -> None:
        capacity = self._capacities[architecture]
        target_group = self._load_balancer.add_target_group(architecture)
        self._lifecycle.grant_leave(target_group, self.role)
        launch_template = BuilderLaunchTemplate(
            self,
            f"{architecture.construct_id}Template",
            architecture=architecture,
            capacity=capacity,
            scaling=self.scaling,
            role=self.role,
            security_group=self._security_group,
            store_volume=self._store_volume,
            user_data=self._host.user_data(self._environment(architecture, cache, target_group)),
        )
        builders = BuilderGroup(
            self,
            f"{architecture.construct_id}Builders",
            vpc=self.vpc,
            architecture=architecture,
            launch_template=launch_template,
            capacity=capacity,
            scaling=self.scaling,
            fleet=self.domain_name,
            lifecycle=self._lifecycle,
            target_group=target_group,
            max_instance_lifetime=self._max_instance_lifetime,
        )
        # A builder that boots before its role may do anything is abandoned.
        builders.node.add_dependency(self.role)
        if self._boot_proof:
            builders.node.add_dependency(self._boot_proof.prove(architecture, launch_template))
        self.groups[architecture] = builders.group
        if builders.fallback_group:
            self.fallback_groups[architecture] = builders.fallback_group
        self.target_groups[architecture] = target_group

    def _environment(
        self, architecture: Architecture, cache: CacheBucket, target_group: elbv2.INetworkTargetGroup
    ) -> Mapping[str, str]:
        return {
            "AWS_REGION": Stack.of(self).region,
            "AWS_BUCKET": cache.bucket.bucket_name,
            "CERTIFICATE_SECRET": self.certificates.server_secret.secret_arn,
            # Nothing reads it: it replaces the builders when they have to take another certificate.
            "CERTIFICATE_REVISION": self.certificates.revision,
            "BUILDKIT_ARCHIVE": self._releases.archive_uri(architecture),
            "BUILDKIT_ARCHIVE_SHA256": self._releases.release.sha256[architecture],
            "LONGEST_BUILD_SECONDS": str(int(self._longest_build.total_seconds())),
            **BuilderLifecycle.host_environment(target_group),
            **GroupScaling.host_environment(self.scaling, self.domain_name, architecture),
            "LOG_GROUP": self.logs.log_group.log_group_name,
        }
