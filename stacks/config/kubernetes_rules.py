"""What the settings of EKS must be to each other, and what a fleet of pods has not."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from cdk_buildkit.builder_images import EXAMPLE_IMAGES, IMAGE_ALLOWED, how_to_find_digest
from cdk_buildkit.builder_node_pool import LONGEST_NODE_LIFETIME, capacity_shares, check_instance_families
from cdk_buildkit.pod_scaling import LONGEST_IDLE_TIMEOUT
from stacks.config.kubernetes_settings import KubernetesConfig
from stacks.config.problems import KeyPath, Problem, listing, refused
from stacks.config.settings import FleetConfig, NetworkConfig


def kubernetes_problems(
    kubernetes: KubernetesConfig, network: NetworkConfig | None, builders: Mapping[str, FleetConfig]
) -> Iterator[Problem]:
    """Check the cluster, where a fleet is on it, and each fleet against it."""
    fleets = {name: fleet for name, fleet in builders.items() if fleet.compute == "eks"}
    if not fleets:
        return
    for name, example in EXAMPLE_IMAGES.items():
        key = f"{name}_image"
        if not getattr(kubernetes, key):
            yield refused(("kubernetes", key), "nothing", IMAGE_ALLOWED, how_to_find_digest(example))
    yield from _cluster_problems(kubernetes, network)
    auto_mode = not kubernetes.cluster or kubernetes.cluster.auto_mode
    for name, fleet in fleets.items():
        yield from _reach_problems(("builders", name), fleet)
        yield from _instance_problems(("builders", name), fleet)
        yield from _node_problems(("builders", name), fleet, auto_mode=auto_mode)


def _cluster_problems(kubernetes: KubernetesConfig, network: NetworkConfig | None) -> Iterator[Problem]:
    if not kubernetes.cluster:
        return
    if network and not network.vpc:
        yield refused(
            ("kubernetes", "cluster"),
            "a cluster that exists, and a new VPC",
            "one in a VPC that exists too",
            "add [network.vpc] with the cluster's VPC, or remove the cluster for a new one",
        )
    for key in ("admin_principals", "public_access_cidrs"):
        if getattr(kubernetes, key):
            yield refused(
                ("kubernetes", key),
                "a list",
                "none beside [kubernetes.cluster], whose access is its owner's",
                "remove it, and set it where the cluster is made",
            )


def _reach_problems(path: KeyPath, fleet: FleetConfig) -> Iterator[Problem]:
    pods = fleet.kubernetes
    if not pods.client_namespaces and not pods.load_balancer:
        yield refused(
            (*path, "kubernetes"),
            "neither client_namespaces nor load_balancer",
            "one of them or both, or nobody reaches the builders",
            "name the clients' namespaces, or set load_balancer = true for clients in the VPC",
        )
    if fleet.clients and not pods.load_balancer:
        yield refused(
            (*path, "clients"),
            "a list",
            "clients of a load balancer, and there is none",
            "set kubernetes.load_balancer = true, or remove them",
        )


def _instance_problems(path: KeyPath, fleet: FleetConfig) -> Iterator[Problem]:
    if fleet.ami:
        yield refused((*path, "ami"), "an AMI", "none where compute is eks: EKS chooses its nodes'", "remove it")
    if fleet.scaling.warm_pool:
        yield refused(
            (*path, "scaling", "warm_pool"),
            "a warm pool",
            "none where compute is eks: it is of EC2 instances",
            'remove it; kubernetes.store = "volume" keeps the store of a builder that is replaced',
        )
    longest = LONGEST_IDLE_TIMEOUT // timedelta(minutes=1)
    if fleet.scaling.idle_timeout_minutes > longest:
        yield refused(
            (*path, "scaling", "idle_timeout_minutes"),
            fleet.scaling.idle_timeout_minutes,
            f"at most {longest} where compute is eks, as long as its autoscaler remembers",
            "lower it",
        )
    if fleet.scaling.schedules:
        yield refused(
            (*path, "scaling", "schedules"),
            "schedules",
            "none where compute is eks: they are of Auto Scaling groups",
            "remove them",
        )


def _node_problems(path: KeyPath, fleet: FleetConfig, *, auto_mode: bool) -> Iterator[Problem]:
    if fleet.kubernetes.user_namespaces and auto_mode:
        yield refused(
            (*path, "kubernetes", "user_namespaces"),
            "true",
            "false on EKS Auto Mode, whose nodes allow no user namespaces (aws/containers-roadmap#2797)",
            "remove it, or give a [kubernetes.cluster] with auto_mode = false whose nodes allow them",
        )
    families = fleet.kubernetes.instance_families
    if families and not auto_mode:
        yield refused(
            (*path, "kubernetes", "instance_families"),
            "families",
            "none on a cluster without EKS Auto Mode, whose nodes are its owner's",
            "remove them",
        )
    try:
        check_instance_families(families, fleet.architectures)
    except ValueError:
        yield refused(
            (*path, "kubernetes", "instance_families"),
            listing(families),
            f"at least one of each architecture of the fleet, {listing(fleet.architectures)}, and no other",
            "name for example c7gd for arm64, c6id for x86_64",
        )
    longest = LONGEST_NODE_LIFETIME.days
    if auto_mode and fleet.max_instance_lifetime_days > longest:
        yield refused(
            (*path, "max_instance_lifetime_days"),
            fleet.max_instance_lifetime_days,
            f"at most {longest}, as long as EKS Auto Mode lets a node live",
            "lower it",
        )
    try:
        capacity_shares(fleet.scaling.on_demand_base_capacity, fleet.scaling.on_demand_percentage)
    except ValueError:
        yield refused(
            (*path, "scaling", "on_demand_percentage"),
            f"{fleet.scaling.on_demand_percentage} above {fleet.scaling.on_demand_base_capacity}",
            "a multiple of a tenth, a quarter or a third above on_demand_base_capacity 0 where compute is eks, as pods "
            "are spread over equal shares",
            "take for example 20 above 0",
        )
