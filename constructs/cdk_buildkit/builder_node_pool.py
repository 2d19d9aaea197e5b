"""The nodes of a fleet of pods, which EKS Auto Mode makes and ends."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from fractions import Fraction

from aws_cdk import Size
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge_managed_policies
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_cluster import SUBNETS, BuilderCluster
from cdk_buildkit.builder_scaling import BuilderScaling
from cdk_buildkit.instance_types import instance_family_architecture, vcpus
from cdk_buildkit.kubernetes_manifest import KubernetesManifest

FLEET_LABEL = "cdk-buildkit/fleet"
"""A label and a taint of the fleet's nodes: its value is the fleet's namespace."""

LONGEST_NODE_LIFETIME = timedelta(days=21)
"""The longest that EKS Auto Mode lets a node live
(https://docs.aws.amazon.com/eks/latest/userguide/automode-learn-instances.html)."""

CAPACITY_LABEL = "cdk-buildkit/capacity"
"""A label of nodes, whose values builders are spread over evenly where a share of them is on demand."""

FAMILY_LABEL = "eks.amazonaws.com/instance-family"
"""A label of EKS Auto Mode's nodes
(https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html)."""

DISK_WITHOUT_STORE = Size.gibibytes(80)
"""A node's disk for images and logs, as EKS Auto Mode has it by itself."""

_MOST_SHARES = 10


class BuilderNodePool(Construct):
    """Nodes of a fleet's own, of each architecture, tainted for everything else, which go when they are empty.

    A node that is as old as `max_node_lifetime` lets its builders drain. That is what renews their certificate.

    Args:
        cluster: The cluster, with Auto Mode.
        namespace: The fleet's namespace, which names its nodes.
        capacities: Instance types of each architecture, and whether they are on spot capacity.
        scaling: The share of spot capacity that is on demand, and whether what spot capacity has not is too.
        instance_families: Families of which nodes may be of any size, in place of the instance types. Default: none.
        cpu: Processors that a builder asks for.
        store_size: The size of a builder's store where that is on its node's disk. Default: it is on a volume.
        max_node_lifetime: The age at which a node is replaced.
        drain: The longest that one builder takes to drain.

    Raises:
        ValueError: The lifetime is longer than `LONGEST_NODE_LIFETIME`, a number of builders on demand is asked for,
            or a share that is no multiple of a tenth, a quarter or a third; or an architecture has no family, where
            there are some, or a family no architecture.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        namespace: str,
        capacities: Mapping[Architecture, BuilderCapacity],
        scaling: BuilderScaling,
        instance_families: Sequence[str],
        cpu: float,
        store_size: Size | None,
        max_node_lifetime: timedelta,
        drain: timedelta,
    ) -> None:
        super().__init__(scope, id)
        if max_node_lifetime > LONGEST_NODE_LIFETIME:
            raise ValueError(
                f"a node of EKS Auto Mode lives for {LONGEST_NODE_LIFETIME.days} days at most; got a lifetime of "
                f"{max_node_lifetime / timedelta(days=1):g} days: lower it"
            )
        check_instance_families(instance_families, list(capacities))
        self._families = instance_families
        self._cpu = cpu
        self._cluster = cluster
        self._namespace = namespace
        self._store_size = store_size
        self._max_node_lifetime = max_node_lifetime
        self._drain = drain
        self.role = self._create_role()
        pools = [
            pool
            for architecture, capacity in capacities.items()
            for pool in self._pools(architecture, capacity, scaling)
        ]
        self.applied = cluster.apply(self, "Resource", self._node_class(), *pools)
        self.applied.node.add_dependency(self._let_join())

    def _create_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Nodes of BuildKit builders: to join the cluster and pull images",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(name)
                for name in ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
            ],
        )
        acknowledge_managed_policies(
            role,
            "The two policies that a node of EKS Auto Mode has to have: "
            "https://docs.aws.amazon.com/eks/latest/userguide/auto-create-node-role.html",
        )
        return role

    def _let_join(self) -> eks.AccessEntry:
        return eks.AccessEntry(
            self,
            "Access",
            cluster=self._cluster.cluster,
            principal=self.role.role_arn,
            access_entry_type=eks.AccessEntryType.EC2,
            access_policies=[
                eks.AccessPolicy.from_access_policy_name(
                    "AmazonEKSAutoNodePolicy", access_scope_type=eks.AccessScopeType.CLUSTER
                )
            ],
        )

    def _node_class(self) -> KubernetesManifest:
        manifest = KubernetesManifest("node-class")
        manifest.set("metadata/name", self._namespace)
        manifest.set("spec/role", self.role.role_name)
        subnets = self._cluster.vpc.select_subnets(subnet_type=SUBNETS.subnet_type).subnet_ids
        manifest.set("spec/subnetSelectorTerms", [{"id": each} for each in subnets])
        group = self._cluster.cluster.cluster_security_group_id
        manifest.set("spec/securityGroupSelectorTerms", [{"id": group}])
        if self._store_size:
            size = DISK_WITHOUT_STORE.to_gibibytes() + self._store_size.to_gibibytes()
            manifest.set("spec/ephemeralStorage/size", f"{int(size)}Gi")
        return manifest

    def _pools(
        self, architecture: Architecture, capacity: BuilderCapacity, scaling: BuilderScaling
    ) -> list[KubernetesManifest]:
        name = f"{self._namespace}-{architecture.kubernetes_name}"
        if not capacity.spot:
            return [self._pool(name, architecture, capacity, ["on-demand"], ())]
        on_demand, shares = capacity_shares(scaling.on_demand_base_capacity, scaling.on_demand_percentage)
        values = [str(number) for number in range(shares)]
        # Of both Karpenter takes spot, as long as there is some: https://karpenter.sh/docs/concepts/nodepools/
        spot = ["spot", *(["on-demand"] if scaling.on_demand_fallback else [])]
        if not on_demand:
            return [self._pool(name, architecture, capacity, spot, ())]
        return [
            self._pool(f"{name}-on-demand", architecture, capacity, ["on-demand"], values[:on_demand]),
            self._pool(f"{name}-spot", architecture, capacity, spot, values[on_demand:]),
        ]

    def _pool(
        self,
        name: str,
        architecture: Architecture,
        capacity: BuilderCapacity,
        capacity_types: Sequence[str],
        shares: Sequence[str],
    ) -> KubernetesManifest:
        types = capacity.instance_types_for(architecture)
        families = [each for each in self._families if instance_family_architecture(each) is architecture]
        manifest = KubernetesManifest("node-pool")
        manifest.set("metadata/name", name)
        template = "spec/template/spec"
        manifest.set(("spec", "template", "metadata", "labels", FLEET_LABEL), self._namespace)
        manifest.set(f"{template}/nodeClassRef/name", self._namespace)
        requirements = f"{template}/requirements"
        manifest.set(
            (*requirements.split("/")[:-1], "requirements[kubernetes.io/arch]", "values"), [architecture.oci_name]
        )
        manifest.set(
            (*requirements.split("/")[:-1], "requirements[node.kubernetes.io/instance-type]", "values"), list(types)
        )
        manifest.set(
            (*requirements.split("/")[:-1], "requirements[karpenter.sh/capacity-type]", "values"), list(capacity_types)
        )
        if families:
            of_types = (*requirements.split("/")[:-1], "requirements[node.kubernetes.io/instance-type]")
            manifest.set((*of_types, "values"), families)
            manifest.set((*of_types, "key"), FAMILY_LABEL)
        if shares:
            manifest.document["spec"]["template"]["spec"]["requirements"].append(
                {"key": CAPACITY_LABEL, "operator": "In", "values": list(shares)}
            )
        manifest.set((*template.split("/"), f"taints[{FLEET_LABEL}]", "value"), self._namespace)
        manifest.set(f"{template}/expireAfter", hours(self._max_node_lifetime))
        manifest.set(f"{template}/terminationGracePeriod", hours(2 * self._drain))
        # One more than there are builders: a builder that is replaced may need a node before another has gone.
        # Of a family it has the smallest size with room for what a builder asks for: less than twice that and a little.
        most = math.ceil(2 * self._cpu) + 2 if families else max(map(vcpus, types))
        manifest.set("spec/limits/cpu", str((capacity.max_capacity + 1) * most))
        return manifest


def check_instance_families(families: Sequence[str], architectures: Sequence[Architecture]) -> None:
    """Refuse families that are none, or are not of a fleet's architectures, each of which needs one.

    Raises:
        ValueError: They do not fit.
    """
    if not families:
        return
    found = {each: instance_family_architecture(each) for each in families}
    if set(found.values()) != set(architectures):
        raise ValueError(
            "instance families are of the fleet's architectures, at least one of each; got "
            f"{', '.join(families)} for {', '.join(architectures)}: name for example c7gd for arm64, c6id for x86_64"
        )


def capacity_shares(on_demand_base_capacity: int, on_demand_percentage: int) -> tuple[int, int]:
    """Return how many of how many equal shares of a spot fleet are on demand.

    Raises:
        ValueError: It is a number of builders that is asked for, or a share that takes more than ten.
    """
    share = Fraction(on_demand_percentage, 100).limit_denominator(_MOST_SHARES)
    if on_demand_base_capacity or abs(share * 100 - on_demand_percentage) >= 1:
        raise ValueError(
            "pods are on demand by shares: on_demand_base_capacity is 0, and on_demand_percentage a multiple of a "
            f"tenth, a quarter or a third; got {on_demand_base_capacity} and {on_demand_percentage}: take for example "
            "0 and 20"
        )
    return share.numerator, share.denominator


def hours(span: timedelta) -> str:
    """Write a span as Kubernetes does, in whole hours, rounded up."""
    return f"{-(-span // timedelta(hours=1))}h"
