"""A fleet of BuildKit builders on EKS: one trust tier, with a namespace, a role and a cache scope of its own."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

import jsii
from aws_cdk import Duration, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from constructs import Construct

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_certificates import BuilderCertificates
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.builder_images import BuilderImages
from cdk_buildkit.builder_load_balancer import BUILDKIT_PORT, HEALTH_PORT, BuilderLoadBalancer
from cdk_buildkit.builder_namespace import BuilderNamespace
from cdk_buildkit.builder_node_pool import BuilderNodePool
from cdk_buildkit.builder_pods import BuilderPods, PodSettings, drain_time
from cdk_buildkit.builder_scaling import METRIC_NAMESPACE, BuilderScaling
from cdk_buildkit.cache_bucket import CacheBucket
from cdk_buildkit.cache_names import CacheNames
from cdk_buildkit.client_grant import grant_client
from cdk_buildkit.keda_operator import KedaOperator
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_environment import pod_environment
from cdk_buildkit.pod_files import pod_files, pod_files_sum
from cdk_buildkit.pod_resources import PodResources, PodStore
from cdk_buildkit.pod_scaling import PodScaling
from cdk_buildkit.pod_waker import PodWaker
from cdk_buildkit.store_volume import StoreVolume

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,44}[a-z0-9])?")


@jsii.implements(iam.IGrantable, ec2.IConnectable)
class EksBuilderFleet(Construct):
    """BuildKit as pods on EKS, a StatefulSet for each architecture, in a namespace of their own.

    Clients in the cluster reach the service of the architecture that they build for, `services` by architecture, from
    `client_namespaces`. Those in the VPC reach `domain_name` where the fleet has a load balancer, from where
    `connections` admits them. All show the certificate that `grant_connect` lets them fetch, and hold no cache
    credential: the builders' role reads and writes the cache.

    Args:
        cluster: Where they run.
        zone: The private hosted zone for the fleet's name, which its certificates are for.
        record_name: The fleet's name in the zone.
        caches: The cache bucket of each architecture. The fleet has builders of exactly these architectures.
        write: The scope that the fleet exports to and imports from. One fleet a scope: that is the trust tier.
        images: What the pods run.
        keda: What scales the pods. Default: a KEDA that the cluster has already, whose operator may read metrics.
        read: Further scopes that it may import from. Who reads a scope sees its sources: `mode=max` holds every
            stage. Default: none.
        namespace: The fleet's namespace. Default: `buildkit-<record_name>`.
        client_namespaces: The namespaces whose pods may reach the builders.
        load_balancer: Have an internal load balancer and the fleet's name in DNS, for clients in the VPC. No network
            policy can name its addresses: whatever is in the VPC, other pods too, then reaches the builders' port, and
            is asked for its certificate there.
        egress: Private IPv4 blocks that builders and their steps reach, beside the internet: registries, endpoints of
            AWS services in the VPC. Default: none.
        certificates: The fleet's certificate authority and certificates, for its name and no other fleet's. Default:
            new ones.
        capacities: Capacity and instance types of each architecture. Default: `BuilderCapacity()` for each.
        scaling: How the builders come and go. Default: `BuilderScaling()`.
        instance_families: Families of which nodes may be of any size, in place of the capacities' instance types. On
            EKS Auto Mode only. Default: none.
        resources: What a builder asks of its node. Default: `PodResources()`.
        store: Where a builder keeps its store.
        store_volume: The store's volume; on the node's own disk, its size. Default: `StoreVolume()`.
        longest_build: The longest build that a builder is kept for.
        max_node_lifetime: The age at which a node is replaced, and its builders with it: what renews their certificate.
            Short enough that no builder outlives it.
        user_namespaces: Run the pods in user namespaces, where root is nobody on the node. Only on an existing cluster
            whose nodes allow it.

    Raises:
        ValueError: There is no cache, a capacity is given for an architecture without a cache, nobody could reach the
            builders, the namespace is no name, the scaling parameters have what pods have not, an AMI is given, a scope
            is not in the buckets, the certificates are for another name, builders could outlive them, or user
            namespaces are asked for on EKS Auto Mode.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        zone: route53.IPrivateHostedZone,
        record_name: str,
        caches: Mapping[Architecture, CacheBucket],
        write: CacheScope,
        images: BuilderImages,
        keda: KedaOperator | None = None,
        read: Sequence[CacheScope] = (),
        namespace: str | None = None,
        client_namespaces: Sequence[str] = (),
        load_balancer: bool = False,
        egress: Sequence[str] = (),
        certificates: BuilderCertificates | None = None,
        capacities: Mapping[Architecture, BuilderCapacity] | None = None,
        scaling: BuilderScaling | None = None,
        instance_families: Sequence[str] = (),
        resources: PodResources | None = None,
        store: PodStore = PodStore.VOLUME,
        store_volume: StoreVolume | None = None,
        longest_build: timedelta = timedelta(hours=1),
        max_node_lifetime: Duration = Duration.days(14),  # noqa: B008 - an immutable value
        user_namespaces: bool = False,
    ) -> None:
        super().__init__(scope, id)
        self.architectures = tuple(caches)
        self.caches = dict(caches)
        self.write = write
        self.client_namespaces = tuple(client_namespaces)
        self.vpc = cluster.vpc
        self.cluster = cluster
        self.namespace = namespace or f"buildkit-{record_name}"
        self.scaling = scaling or BuilderScaling()
        self.capacities = {each: BuilderCapacity() for each in caches} | dict(capacities or {})
        self._longest_build = longest_build
        self._check(caches, capacities or {}, client_namespaces, load_balancer=load_balancer)
        if user_namespaces and cluster.auto_mode:
            raise ValueError(
                "user_namespaces is for an existing cluster without EKS Auto Mode: its nodes allow no user namespaces "
                "(https://github.com/aws/containers-roadmap/issues/2797); got it with Auto Mode: leave it out, or give "
                "an ExistingCluster with auto_mode=False and nodes of your own"
            )

        if instance_families and not cluster.auto_mode:
            raise ValueError(
                "instance_families is for EKS Auto Mode, which makes the nodes; got some for a cluster without it: "
                "leave them out, its nodes are its owner's"
            )

        self._load_balancer = (
            BuilderLoadBalancer(
                self,
                "LoadBalancer",
                vpc=cluster.vpc,
                longest_build=longest_build,
                zone=zone,
                record_name=record_name,
                target_type=elbv2.TargetType.IP,
            )
            if load_balancer
            else None
        )
        self.domain_name = f"{record_name}.{zone.zone_name}"
        self.certificates = certificates or BuilderCertificates(self, "Certificates", domain_name=self.domain_name)
        if self.certificates.domain_name != self.domain_name:
            raise ValueError(
                f"a fleet's certificates are for its own name, {self.domain_name}; got certificates for "
                f"{self.certificates.domain_name}: give them this domain_name, or leave certificates out"
            )
        self.certificates.check_instance_lifetime(max_node_lifetime)

        self._namespace = BuilderNamespace(
            self,
            "Namespace",
            cluster=cluster,
            name=self.namespace,
            # Twice: what is replaced may still drain.
            most_pods=2 * sum(each.max_capacity for each in self.capacities.values()),
            client_namespaces=client_namespaces,
            vpc_reaches=load_balancer,
            egress=egress,
        )
        self.role = self._create_role()
        for cache in caches.values():
            cache.grant_read_write(write, self.role)
            for each in read:
                cache.grant_read(each, self.role)
        self._identity = self._namespace.give(self.role)
        # One object for good: the CDK keeps in it, between two calls, in which stack a rule belongs.
        self._connections = ec2.Connections(
            security_groups=[self._load_balancer.security_group] if self._load_balancer else [],
            default_port=ec2.Port.tcp_range(min(each.port for each in caches), max(each.port for each in caches)),
        )
        self._admit_load_balancer()

        volume, resources = store_volume or StoreVolume(), resources or PodResources()
        self._node_pool = (
            BuilderNodePool(
                self,
                "Nodes",
                cluster=cluster,
                namespace=self.namespace,
                capacities=self.capacities,
                scaling=self.scaling,
                instance_families=instance_families,
                cpu=resources.cpu,
                store_size=volume.size if store is PodStore.EPHEMERAL else None,
                max_node_lifetime=timedelta(seconds=max_node_lifetime.to_seconds()),
                drain=drain_time(longest_build),
            )
            if cluster.auto_mode
            else None
        )
        self._files = cluster.apply(self, "Files", pod_files(self.namespace))
        self._files.node.add_dependency(self._namespace.applied)
        self._storage = (
            cluster.apply(self, "Storage", self._storage_class(volume)) if store is PodStore.VOLUME else None
        )
        self._settings = PodSettings(
            namespace=self.namespace,
            images=images,
            resources=resources,
            store=store,
            store_volume=volume,
            storage_class=self.namespace,
            longest_build=longest_build,
            host_files_sum=pod_files_sum(),
            certificate_revision=self.certificates.revision,
            spread_capacity=any(each.spot for each in self.capacities.values())
            and self.scaling.on_demand_percentage > 0,
            user_namespaces=user_namespaces,
        )
        self._keda = keda
        self.pods: dict[Architecture, BuilderPods] = {}
        self.target_groups: dict[Architecture, elbv2.NetworkTargetGroup] = {}
        for architecture, cache in caches.items():
            self._add_builders(architecture, cache)
        self.waker = PodWaker(self, "Waker", fleet=self.domain_name, capacities=self.capacities, scaling=self.scaling)
        self.cache_names = CacheNames(self, "CacheNames", caches=caches, write=write, read=read)

    @property
    @jsii.member(jsii_name="grantPrincipal")
    def grant_principal(self) -> iam.IPrincipal:
        """The builders' role."""
        return self.role

    @property
    @jsii.member(jsii_name="connections")
    def connections(self) -> ec2.Connections:
        """Who may reach the load balancer; the default port covers every architecture. Nobody may at first."""
        return self._connections

    @property
    def services(self) -> Mapping[Architecture, str]:
        """The name in the cluster's DNS of each architecture's builders."""
        return {each: f"{pods.service}.{self.namespace}.svc" for each, pods in self.pods.items()}

    def grant_connect(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a client do what `cdk-buildkit connect` does, waking apart; it must be let reach the fleet too.

        It may read the client certificate, ask which cache to import, and read the outputs of the fleet's stack.
        """
        return grant_client(self, grantee, certificates=self.certificates, cache_names=self.cache_names)

    def grant_wake(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal wake builders for the jobs that it has waiting, by calling `waker.function`."""
        return self.waker.grant_wake(grantee)

    def _check(
        self,
        caches: Mapping[Architecture, CacheBucket],
        capacities: Mapping[Architecture, BuilderCapacity],
        client_namespaces: Sequence[str],
        *,
        load_balancer: bool,
    ) -> None:
        if not caches or set(self.capacities) > set(caches):
            raise ValueError(
                "a fleet has builders of the architectures that it has a cache for; got caches for "
                f"{[each.value for each in caches]}, capacities for {[each.value for each in capacities]}: "
                "give a CacheBucket for each architecture"
            )
        if not client_namespaces and not load_balancer:
            raise ValueError(
                "builders are reached from client_namespaces, through a load_balancer, or both; got neither: name the "
                "clients' namespaces, or have a load balancer"
            )
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError(
                "a fleet's namespace is 1 to 46 lower-case letters, digits and hyphens, no hyphen at an end, for its "
                f"nodes' names begin with it; got {self.namespace!r}: give `namespace`"
            )
        if any(each.ami_id for each in self.capacities.values()):
            raise ValueError("EKS chooses its nodes' AMI; got an ami_id: leave it out")
        if self.scaling.warm_pool:
            raise ValueError("a warm pool is of EC2 instances; got one for pods: leave it out")

    def _create_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=self._namespace.trust(),
            description="BuildKit builders on EKS: their cache scopes, certificate, metrics",
        )
        self.certificates.grant_serve(role)
        # A metric is no resource; the namespace takes its place.
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["cloudwatch:PutMetricData"],
            resource_arns=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
        )
        acknowledge(role, "IAM5[Resource::*]", "PutMetricData takes no resource.")
        return role

    def _admit_load_balancer(self) -> None:
        if not self._load_balancer:
            return
        nodes = ec2.SecurityGroup.from_security_group_id(
            self, "NodeSecurityGroup", self.cluster.cluster.cluster_security_group_id
        )
        for port, words in ((BUILDKIT_PORT, "Clients, through the load balancer"), (HEALTH_PORT, "Health checks")):
            nodes.connections.allow_from(self._load_balancer.security_group, ec2.Port.tcp(port), words)

    def _storage_class(self, volume: StoreVolume) -> KubernetesManifest:
        manifest = KubernetesManifest("storage-class")
        manifest.set("metadata/name", self.namespace)
        if not self.cluster.auto_mode:
            manifest.set("provisioner", "ebs.csi.aws.com")
        manifest.set("parameters/iops", str(volume.iops))
        manifest.set("parameters/throughput", str(volume.throughput))
        return manifest

    def _add_builders(self, architecture: Architecture, cache: CacheBucket) -> None:
        pods = BuilderPods(
            self,
            f"{architecture.construct_id}Builders",
            cluster=self.cluster,
            architecture=architecture,
            settings=self._settings,
            environment=pod_environment(
                fleet=self.domain_name,
                architecture=architecture,
                region=Stack.of(self).region,
                bucket=cache.bucket.bucket_name,
                certificate_secret=self.certificates.server_secret.secret_arn,
                scaling=self.scaling,
                longest_build=self._longest_build,
            ),
        )
        # A pod that starts before its role may do anything fails, and one whose nodes go first is killed.
        for needed in (self._files, self._storage, self._node_pool, self._identity, self.role):
            if needed:
                pods.applied.node.add_dependency(needed)
        self.pods[architecture] = pods
        scaling = PodScaling(
            self,
            f"{architecture.construct_id}Scaling",
            cluster=self.cluster,
            namespace=self.namespace,
            stateful_set=pods.name,
            capacity=self.capacities[architecture],
            scaling=self.scaling,
            fleet=self.domain_name,
            architecture=architecture,
        )
        scaling.node.add_dependency(pods, *([self._keda] if self._keda else []))
        if self._load_balancer:
            self.target_groups[architecture] = self._bind(architecture, pods, self._load_balancer)

    def _bind(
        self, architecture: Architecture, pods: BuilderPods, load_balancer: BuilderLoadBalancer
    ) -> elbv2.NetworkTargetGroup:
        target_group = load_balancer.add_target_group(architecture)
        # By this tag alone may EKS Auto Mode register targets in it: AmazonEKSLoadBalancingPolicy.
        Tags.of(target_group).add("eks:eks-cluster-name", self.cluster.cluster.cluster_name)
        manifest = KubernetesManifest("target-group-binding")
        if not self.cluster.auto_mode:
            manifest.set("apiVersion", "elbv2.k8s.aws/v1beta1")
        manifest.set("metadata/name", pods.service)
        manifest.set("metadata/namespace", self.namespace)
        manifest.set("spec/serviceRef/name", pods.service)
        manifest.set("spec/targetGroupARN", target_group.target_group_arn)
        binding = self.cluster.apply(self, f"{architecture.construct_id}Binding", manifest)
        binding.node.add_dependency(pods)
        return target_group
