"""The settings of EKS: the cluster, and what a fleet of pods has that one of instances has not."""

from dataclasses import dataclass, field
from typing import Annotated

from cdk_buildkit import KedaRelease, PodResources, PodStore
from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS
from stacks.config.kubernetes_values import (
    AwsCliImage,
    BuildkitImage,
    ChartRepository,
    ClusterName,
    GroupName,
    ImageDigest,
    ImageRegistry,
    InstanceFamily,
    KedaVersion,
    KubernetesVersion,
    NamespaceName,
    PrincipalArn,
    PrivateBlock,
    Store,
)
from stacks.config.runner_scale_set_settings import RunnerControllerConfig
from stacks.config.values import Builds, PublicBlock, SecurityGroupId, between

_RESOURCES = PodResources()
_KEDA = KedaRelease()


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """A cluster that exists, in the VPC that exists, named by ids: nothing is looked up.

    Args:
        name: Its name.
        security_group_id: The security group that EKS made with it.
        auto_mode: It runs EKS Auto Mode.
    """

    name: ClusterName
    security_group_id: SecurityGroupId
    auto_mode: bool = True


@dataclass(frozen=True, kw_only=True)
class KedaConfig:
    """The autoscaler of a cluster's fleets.

    Args:
        install: Install it. A cluster that has it already must not get another.
        version: The version of its chart, and of itself.
        chart_repository: The URL of the Helm repository with its chart.
        image_registry: The registry with its images. Default: its own.
        operator_digest: The digest of its operator's image. Default: what the version's tag names.
        metrics_server_digest: The digest of its metrics server's image. Default: likewise.
    """

    install: bool = True
    version: KedaVersion = _KEDA.version
    chart_repository: ChartRepository = _KEDA.chart_repository
    image_registry: ImageRegistry | None = None
    operator_digest: ImageDigest | None = None
    metrics_server_digest: ImageDigest | None = None


@dataclass(frozen=True, kw_only=True)
class DriverConfig:
    """What a group needs that makes builders of its own with the buildx kubernetes driver.

    Args:
        group: The group's name in Kubernetes.
        max_builders: Builders that there may be at once.
        timeout_minutes: Minutes that buildx waits for a builder, its node included.
    """

    group: GroupName
    max_builders: Builds = 8
    timeout_minutes: Annotated[int, between(1, 60)] = 10


@dataclass(frozen=True, kw_only=True)
class KubernetesConfig:
    """The cluster of every fleet whose `compute` is `eks`, and what their pods run.

    Args:
        version: The cluster's version of Kubernetes.
        buildkit_image: BuildKit's image, pinned by its digest. Required where a fleet is on EKS.
        aws_cli_image: The AWS CLI's image, pinned by its digest. Required likewise.
        admin_principals: Roles and users that administer a new cluster.
        public_access_cidrs: IPv4 blocks from which a new cluster's endpoint is reached from the internet. Default:
            none.
        cluster: An existing cluster. Default: a new one.
        keda: What scales the pods.
        runner_controller: What starts runners that are pods. It is installed where there is a runner scale set.
    """

    version: KubernetesVersion = KUBERNETES_VERSIONS[0]
    buildkit_image: BuildkitImage = ""
    aws_cli_image: AwsCliImage = ""
    admin_principals: tuple[PrincipalArn, ...] = ()
    public_access_cidrs: tuple[PublicBlock, ...] = ()
    cluster: ClusterConfig | None = None
    keda: KedaConfig = KedaConfig()
    runner_controller: RunnerControllerConfig = field(default_factory=RunnerControllerConfig)


@dataclass(frozen=True, kw_only=True)
class PodsConfig:
    """What is of a fleet's pods.

    Args:
        namespace: Their namespace. In a file, the default is `buildkit-<fleet>`.
        client_namespaces: Namespaces whose pods may reach the builders. Default: none.
        load_balancer: Have a load balancer and the fleet's name in DNS, for clients in the VPC.
        egress: Private IPv4 blocks that builders and steps reach beside the internet. Default: none.
        store: Where a builder keeps its store.
        instance_families: Instance families whose every size will do, in place of the fleet's instance types.
        cpu: Processors that a builder asks for.
        memory_gib: GiB of memory that a builder gets.
        user_namespaces: Run the pods in user namespaces.
        driver: Let a group make builders of its own with the buildx kubernetes driver. Default: nobody.
    """

    namespace: NamespaceName | None = None
    client_namespaces: tuple[NamespaceName, ...] = ()
    load_balancer: bool = False
    egress: tuple[PrivateBlock, ...] = ()
    store: Store = PodStore.VOLUME.value
    instance_families: tuple[InstanceFamily, ...] = ()
    cpu: Annotated[float, between(0.5, 1000)] = _RESOURCES.cpu
    memory_gib: Annotated[int, between(1, 32768)] = int(_RESOURCES.memory.to_gibibytes())
    user_namespaces: bool = False
    driver: DriverConfig | None = None
