"""How the StatefulSet of one architecture follows its builds, to zero and back: what KEDA is told."""

from datetime import timedelta

from aws_cdk import Stack
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.builder_scaling import (
    IN_FLIGHT_BUILDS,
    METRIC_NAMESPACE,
    METRIC_PERIOD,
    WAITING_JOBS,
    BuilderScaling,
)
from cdk_buildkit.kubernetes_manifest import KubernetesManifest

IN_FLIGHT_WINDOW = timedelta(seconds=30)
"""Over which running builds are summed. Builders do not publish at the same moment: in a window as short as what they
publish in, one would count twice now and then, and another not at all."""

LONGEST_IDLE_TIMEOUT = timedelta(hours=1)
"""As long as a HorizontalPodAutoscaler remembers
(https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/)."""


class PodScaling(Construct):
    """Scales one architecture's builders on running builds and waiting jobs, whichever calls for more.

    KEDA starts the first builder and takes the last, its HorizontalPodAutoscaler does what is between. A StatefulSet
    loses the highest of its pods, busy or not: what makes that no loss is the pod's drain.

    Args:
        cluster: The cluster, with KEDA in it.
        namespace: The fleet's namespace.
        stateful_set: The name of the StatefulSet.
        capacity: Its capacities.
        scaling: The fleet's scaling parameters.
        fleet: The fleet's domain name, as its builders publish it.
        architecture: Its builders' architecture, likewise.

    Raises:
        ValueError: The parameters are such as pods cannot have.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        namespace: str,
        stateful_set: str,
        capacity: BuilderCapacity,
        scaling: BuilderScaling,
        fleet: str,
        architecture: Architecture,
    ) -> None:
        super().__init__(scope, id)
        check_pod_scaling(scaling)
        authentication = KubernetesManifest("trigger-authentication")
        authentication.set("metadata/name", stateful_set)
        authentication.set("metadata/namespace", namespace)

        scaled = KubernetesManifest("scaled-object")
        scaled.set("metadata/name", stateful_set)
        scaled.set("metadata/namespace", namespace)
        scaled.set("spec/scaleTargetRef/name", stateful_set)
        scaled.set("spec/minReplicaCount", capacity.min_capacity)
        scaled.set("spec/maxReplicaCount", capacity.max_capacity)
        idle_seconds = int(scaling.idle_timeout.total_seconds())
        scaled.set("spec/cooldownPeriod", idle_seconds)
        behavior = "spec/advanced/horizontalPodAutoscalerConfig/behavior"
        scaled.set(f"{behavior}/scaleDown/stabilizationWindowSeconds", idle_seconds)
        (all_at_once,) = scaled.document["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"][
            "policies"
        ]
        all_at_once["value"] = capacity.max_capacity
        publications = IN_FLIGHT_WINDOW / METRIC_PERIOD
        for trigger, metric, target in (
            ("in-flight-builds", IN_FLIGHT_BUILDS, scaling.target_builds_per_builder * publications),
            ("waiting-jobs", WAITING_JOBS, scaling.target_builds_per_builder),
        ):
            scaled.set(f"spec/triggers[{trigger}]/authenticationRef/name", stateful_set)
            metadata = f"spec/triggers[{trigger}]/metadata"
            scaled.set(f"{metadata}/namespace", METRIC_NAMESPACE)
            scaled.set(f"{metadata}/metricName", metric)
            scaled.set(f"{metadata}/dimensionValue", f"{fleet};{architecture.value}")
            scaled.set(f"{metadata}/targetMetricValue", f"{target:g}")
            scaled.set(f"{metadata}/awsRegion", Stack.of(self).region)
        scaled.set(
            "spec/triggers[in-flight-builds]/metadata/metricStatPeriod", f"{IN_FLIGHT_WINDOW.total_seconds():.0f}"
        )
        cluster.apply(self, "Manifest", authentication, scaled)


def check_pod_scaling(scaling: BuilderScaling) -> None:
    """Refuse scaling parameters that pods cannot have.

    Raises:
        ValueError: There are schedules, or `idle_timeout` is longer than an autoscaler remembers.
    """
    if scaling.idle_timeout > LONGEST_IDLE_TIMEOUT:
        raise ValueError(
            f"idle_timeout of builders on Kubernetes is at most {LONGEST_IDLE_TIMEOUT}, as long as its autoscaler "
            f"remembers; got {scaling.idle_timeout}: lower it"
        )
    if scaling.schedules:
        raise ValueError(
            "schedules change the capacities of Auto Scaling groups, which builders on Kubernetes have none of; got "
            f"{len(scaling.schedules)}: leave them out, and raise min_capacity or wake the fleet at the time"
        )
