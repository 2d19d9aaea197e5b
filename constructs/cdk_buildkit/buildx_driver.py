"""What the buildx `kubernetes` driver needs: a namespace in which a group makes builders, and the line for one."""

import shlex
from collections.abc import Mapping
from datetime import timedelta

import jsii
from aws_cdk import Size, Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.builder_images import EXAMPLE_IMAGES, IMAGE_ALLOWED, how_to_find_digest, is_pinned
from cdk_buildkit.builder_namespace import SERVICE_ACCOUNT
from cdk_buildkit.builder_node_pool import FLEET_LABEL
from cdk_buildkit.cache_bucket import CacheBucket
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_identity import pod_identity_principal
from cdk_buildkit.pod_resources import PodResources

BUILDKITD_FLAGS = "--allow-insecure-entitlement=device --oci-worker-net=bridge"
"""Without an entitlement of one's own, buildx allows `network.host` (builder/builder.go, parseBuildkitdFlags). `device`
is allowed anyway (buildkitd's newController). `bridge` keeps steps off the pod's network."""

_NAMESPACED = ("service-account", "role", "role-binding", "resource-quota", "network-policy")
_NAMED = ("admission-policy", "admission-policy-binding", "namespace")
"""Objects of the whole cluster, by their names. The policy comes before the namespace that it is for."""


@jsii.implements(iam.IGrantable)
class BuildxDriver(Construct):
    """Lets a group make builders of its own in one namespace, and nothing else, with a role that may use a cache.

    The builders are privileged. Who is in the group can become any of them, and what runs on their nodes beside them:
    it belongs to the trust tier of the nodes and of the caches.

    Args:
        cluster: The cluster.
        namespace: The namespace to make for it.
        group: The group's name in Kubernetes; `grant_create` puts roles into it.
        nodes: The fleet whose nodes the builders run on, by the value of their label and taint `cdk-buildkit/fleet`.
        caches: The cache bucket of each architecture that builders are made for. Grant the construct what it may do
            with them.
        image: BuildKit's image, pinned by its digest.
        resources: What one builder asks of its node. Default: `PodResources()`.
        volume_size: The volume for each builder's store, of the cluster's default storage class. It stays when the
            builder goes. Default: none, the store is on the node's disk and goes with the builder.
        storage_class: Whether to make a default storage class; for a cluster that has none, as Auto Mode makes it.
        max_builders: How many builders there may be at once.
        timeout: How long buildx waits for a builder: where there is no node yet, for that too.

    Raises:
        ValueError: The image is not pinned by its digest.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        namespace: str,
        group: str,
        nodes: str,
        caches: Mapping[Architecture, CacheBucket],
        image: str,
        resources: PodResources | None = None,
        volume_size: Size | None = None,
        storage_class: bool = False,
        max_builders: int = 8,
        timeout: timedelta = timedelta(minutes=10),
    ) -> None:
        super().__init__(scope, id)
        if not is_pinned(image):
            mend = how_to_find_digest(EXAMPLE_IMAGES["buildkit"])
            raise ValueError(f"the image of builders is {IMAGE_ALLOWED}; got {image!r}: {mend}")
        self.namespace = namespace
        self.group = group
        self._cluster = cluster
        self._nodes = nodes
        self._image = image
        self._resources = resources or PodResources()
        self._volume_size = volume_size
        self._timeout = timeout
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=pod_identity_principal(cluster, namespace=namespace, service_account=SERVICE_ACCOUNT),
            description="BuildKit builders of the buildx kubernetes driver: the cache scopes that it is granted",
        )
        self._apply(max_builders, storage_class=storage_class)
        eks.CfnPodIdentityAssociation(
            self,
            "Identity",
            cluster_name=cluster.cluster.cluster_name,
            namespace=namespace,
            service_account=SERVICE_ACCOUNT,
            role_arn=self.role.role_arn,
        )
        self.create_lines = {
            architecture: self._create_line(architecture, cache, append=number > 0)
            for number, (architecture, cache) in enumerate(caches.items())
        }
        """The command that makes a builder, by architecture; the first makes it, the others add to it."""

    @property
    @jsii.member(jsii_name="grantPrincipal")
    def grant_principal(self) -> iam.IPrincipal:
        """The builders' role."""
        return self.role

    def grant_create(self, role: iam.IRole) -> iam.Grant:
        """Put a role into the group, and let it look up the cluster, as `aws eks update-kubeconfig` does."""
        eks.CfnAccessEntry(
            self,
            f"Access{role.node.addr[-8:]}",
            cluster_name=self._cluster.cluster.cluster_name,
            principal_arn=role.role_arn,
            kubernetes_groups=[self.group],
        )
        return iam.Grant.add_to_principal(
            grantee=role, actions=["eks:DescribeCluster"], resource_arns=[self._cluster.cluster.cluster_arn]
        )

    def _apply(self, max_builders: int, *, storage_class: bool) -> None:
        named = (*_NAMED, "storage-class") if storage_class else _NAMED
        manifests = {name: KubernetesManifest(f"driver-{name}") for name in (*named, *_NAMESPACED)}
        for name, manifest in manifests.items():
            manifest.set("metadata/name" if name in named else "metadata/namespace", self.namespace)
        policy, binding = manifests["admission-policy"], manifests["admission-policy-binding"]
        policy.set("spec/variables[nodes]/expression", f"'{self._nodes}'")
        policy.set("spec/variables[image]/expression", f"'{self._image}'")
        binding.set("spec/policyName", self.namespace)
        binding.set(
            ("spec", "matchResources", "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name"),
            self.namespace,
        )
        manifests["role-binding"].document["subjects"][0]["name"] = self.group
        manifests["resource-quota"].set("spec/hard/pods", str(max_builders))
        # Those of builders that are gone are still there.
        manifests["resource-quota"].set("spec/hard/persistentvolumeclaims", str(2 * max_builders))
        self.applied = self._cluster.apply(self, "Manifest", *manifests.values())

    def _create_line(self, architecture: Architecture, cache: CacheBucket, *, append: bool) -> str:
        memory = self._resources.memory_quantity
        selector = {"kubernetes.io/arch": architecture.oci_name, FLEET_LABEL: self._nodes}
        toleration = {"key": FLEET_LABEL, "operator": "Equal", "value": self._nodes, "effect": "NoSchedule"}
        options = {
            "namespace": self.namespace,
            "image": self._image,
            "serviceaccount": SERVICE_ACCOUNT,
            "nodeselector": _pairs(selector),
            "tolerations": _pairs(toleration),
            "requests.cpu": self._resources.cpu_quantity,
            "requests.memory": memory,
            "limits.memory": memory,
            "timeout": f"{self._timeout.total_seconds():.0f}s",
            "env.AWS_REGION": Stack.of(self).region,
            "env.AWS_BUCKET": cache.bucket.bucket_name,
        }
        if self._volume_size:
            options["persistent-volume-claim.requests.storage"] = f"{self._volume_size.to_gibibytes():.0f}Gi"
        words = ["docker", "buildx", "create", *(["--append"] if append else []), "--name", self.namespace]
        words += ["--driver", "kubernetes", "--platform", architecture.platform]
        words += ["--buildkitd-flags", BUILDKITD_FLAGS]
        for name, value in options.items():
            # An option is a line of comma-separated values, so that one with commas is quoted.
            words += ["--driver-opt", f'"{name}={value}"' if "," in value else f"{name}={value}"]
        return shlex.join(words)


def _pairs(values: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())
