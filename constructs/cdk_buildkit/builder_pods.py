"""The builders of a fleet of pods, of one architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.builder_images import BuilderImages
from cdk_buildkit.builder_lifecycle import SETTLING
from cdk_buildkit.builder_node_pool import CAPACITY_LABEL, FLEET_LABEL
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_resources import PodResources, PodStore
from cdk_buildkit.store_volume import StoreVolume

KILL_MARGIN = timedelta(minutes=2)
"""How long after the longest build the kubelet ends what is left: until then the agent says what is lost."""

ARCHITECTURE_LABEL = "cdk-buildkit/architecture"

HOST_FILES_ANNOTATION = "cdk-buildkit/host-files"
REVISION_ANNOTATION = "cdk-buildkit/certificate-revision"

_POD = "spec/template/spec"
_SELECTOR = ("spec", "selector", "matchLabels", ARCHITECTURE_LABEL)


def drain_time(longest_build: timedelta) -> timedelta:
    """Return the longest that a pod takes from when it is told to go until it is gone."""
    return settling() + longest_build + KILL_MARGIN


def settling() -> timedelta:
    """Return how long a pod serves once it has said that it goes, as a builder on EC2 does."""
    return timedelta(seconds=SETTLING.to_seconds())


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """What the pods of every architecture of a fleet have in common.

    Args:
        namespace: Their namespace.
        images: What they run.
        resources: What each asks for.
        store: Where it keeps its store.
        store_volume: The store's volume, or its size on the node.
        storage_class: The class of that volume.
        longest_build: The longest build that is waited for.
        host_files_sum: What changes when the files that they are given do.
        certificate_revision: What changes when they have to take another certificate.
        spread_capacity: Spread them over the shares of capacity.
        user_namespaces: Run them in user namespaces.
    """

    namespace: str
    images: BuilderImages
    resources: PodResources
    store: PodStore
    store_volume: StoreVolume
    storage_class: str
    longest_build: timedelta
    host_files_sum: str
    certificate_revision: str
    spread_capacity: bool
    user_namespaces: bool


class BuilderPods(Construct):
    """A StatefulSet of builders, the services that lead to them, and what keeps them from going together.

    It does not say how many builders there are, which applying it again would restore: `PodScaling` does.

    Args:
        cluster: The cluster.
        architecture: Their architecture.
        settings: What they have in common with those of other architectures.
        environment: The environment variables of their containers, by the container's name, beside those that follow
            from the rest.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        architecture: Architecture,
        settings: PodSettings,
        environment: Mapping[str, Mapping[str, str]],
    ) -> None:
        super().__init__(scope, id)
        self._architecture = architecture
        self._settings = settings
        self.name = f"builder-{architecture.kubernetes_name}"
        """The StatefulSet's name."""
        self.service = architecture.kubernetes_name
        """The service's name: clients in the cluster find it at `<service>.<namespace>.svc`."""
        stateful_set = self._stateful_set()
        for container, variables in environment.items():
            kind = "containers" if container == "buildkitd" else "initContainers"
            stateful_set.set_environment(f"{_POD}/{kind}[{container}]", variables)
        self.applied = cluster.apply(
            self, "Resource", self._headless_service(), self._service(), self._disruption_budget(), stateful_set
        )

    def _headless_service(self) -> KubernetesManifest:
        manifest = self._named("headless-service", f"builders-{self._architecture.kubernetes_name}")
        manifest.set(("metadata", "labels", ARCHITECTURE_LABEL), self._architecture.value)
        manifest.set(("spec", "selector", ARCHITECTURE_LABEL), self._architecture.value)
        return manifest

    def _service(self) -> KubernetesManifest:
        manifest = self._named("service", self.service)
        manifest.set(("metadata", "labels", ARCHITECTURE_LABEL), self._architecture.value)
        manifest.set(("spec", "selector", ARCHITECTURE_LABEL), self._architecture.value)
        return manifest

    def _disruption_budget(self) -> KubernetesManifest:
        manifest = self._named("disruption-budget", f"builders-{self._architecture.kubernetes_name}")
        manifest.set(_SELECTOR, self._architecture.value)
        return manifest

    def _named(self, file: str, name: str) -> KubernetesManifest:
        manifest = KubernetesManifest(file)
        manifest.set("metadata/name", name)
        manifest.set("metadata/namespace", self._settings.namespace)
        return manifest

    def _stateful_set(self) -> KubernetesManifest:
        settings, architecture = self._settings, self._architecture
        manifest = self._named("stateful-set", self.name)
        manifest.set(("metadata", "labels", ARCHITECTURE_LABEL), architecture.value)
        manifest.set("spec/serviceName", f"builders-{architecture.kubernetes_name}")
        manifest.set(_SELECTOR, architecture.value)
        metadata = ("spec", "template", "metadata")
        manifest.set((*metadata, "labels", ARCHITECTURE_LABEL), architecture.value)
        manifest.set((*metadata, "annotations", HOST_FILES_ANNOTATION), settings.host_files_sum)
        manifest.set((*metadata, "annotations", REVISION_ANNOTATION), settings.certificate_revision)
        pod = tuple(_POD.split("/"))
        grace = drain_time(settings.longest_build)
        manifest.set((*pod, "terminationGracePeriodSeconds"), int(grace.total_seconds()))
        manifest.set((*pod, "nodeSelector", "kubernetes.io/arch"), architecture.oci_name)
        manifest.set((*pod, "nodeSelector", FLEET_LABEL), settings.namespace)
        manifest.set((*pod, f"tolerations[{FLEET_LABEL}]", "value"), settings.namespace)
        self._spread(manifest)
        if settings.user_namespaces:
            manifest.document["spec"]["template"]["spec"]["hostUsers"] = False
        self._set_containers(manifest)
        self._set_store(manifest)
        return manifest

    def _spread(self, manifest: KubernetesManifest) -> None:
        constraints = manifest.document["spec"]["template"]["spec"]["topologySpreadConstraints"]
        manifest.set(
            (
                *_POD.split("/"),
                "topologySpreadConstraints[topology.kubernetes.io/zone]",
                "labelSelector",
                "matchLabels",
                ARCHITECTURE_LABEL,
            ),
            self._architecture.value,
        )
        if self._settings.spread_capacity:
            constraints.append({**constraints[0], "topologyKey": CAPACITY_LABEL, "whenUnsatisfiable": "DoNotSchedule"})

    def _set_containers(self, manifest: KubernetesManifest) -> None:
        images, resources = self._settings.images, self._settings.resources
        for container in ("certificate", "python", "agent"):
            manifest.set(f"{_POD}/initContainers[{container}]/image", images.aws_cli)
        manifest.set(f"{_POD}/initContainers[network]/image", images.buildkit)
        daemon = f"{_POD}/containers[buildkitd]"
        manifest.set(f"{daemon}/image", images.buildkit)
        manifest.set(f"{daemon}/resources/requests/cpu", resources.cpu_quantity)
        manifest.set(f"{daemon}/resources/requests/memory", resources.memory_quantity)
        manifest.set(f"{daemon}/resources/limits/memory", resources.memory_quantity)

    def _set_store(self, manifest: KubernetesManifest) -> None:
        size = f"{int(self._settings.store_volume.size.to_gibibytes())}Gi"
        claim = "spec/volumeClaimTemplates[store]"
        if self._settings.store is PodStore.VOLUME:
            manifest.set(f"{claim}/spec/storageClassName", self._settings.storage_class)
            manifest.set(f"{claim}/spec/resources/requests/storage", size)
            return
        manifest.remove("spec/volumeClaimTemplates")
        manifest.remove("spec/persistentVolumeClaimRetentionPolicy")
        manifest.document["spec"]["template"]["spec"]["volumes"].append(
            {"name": "store", "emptyDir": {"sizeLimit": size}}
        )
