"""The namespace of a fleet of pods: one trust tier, with its identity, its bounds and its network."""

from collections.abc import Sequence

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_identity import pod_identity_principal

SERVICE_ACCOUNT = "builder"
"""Whom EKS Pod Identity gives the fleet's role."""


class BuilderNamespace(Construct):
    """A namespace for one fleet's builders: privileged pods, a role for one service account, and a network of its own.

    Args:
        cluster: The cluster.
        name: The namespace's name.
        most_pods: Pods, and volumes, that there may be in it at once.
        client_namespaces: The namespaces whose pods may reach the builders.
        vpc_reaches: Let the VPC reach them too: a load balancer has no address that could be named.
        egress: Private IPv4 blocks that builders and their steps reach, beside the internet.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        name: str,
        most_pods: int,
        client_namespaces: Sequence[str],
        vpc_reaches: bool,
        egress: Sequence[str],
    ) -> None:
        super().__init__(scope, id)
        self._cluster = cluster
        self.name = name
        policy = KubernetesManifest("network-policy")
        _admit(policy, client_namespaces, cluster.vpc.vpc_cidr_block if vpc_reaches else None)
        policy.document["spec"]["egress"] += [{"to": [{"ipBlock": {"cidr": each}}]} for each in egress]
        namespace = KubernetesManifest("namespace")
        namespace.set("metadata/name", name)
        quota = KubernetesManifest("resource-quota")
        quota.set("spec/hard/pods", str(most_pods))
        quota.set("spec/hard/persistentvolumeclaims", str(most_pods))
        inside = (KubernetesManifest("service-account"), quota, KubernetesManifest("network-policy-deny"), policy)
        for manifest in inside:
            manifest.set("metadata/namespace", name)
        self.applied = cluster.apply(self, "Resource", namespace, *inside)

    def trust(self) -> iam.IPrincipal:
        """Return the principal that a role trusts so that the builders of this namespace have it, and nobody else."""
        return pod_identity_principal(self._cluster, namespace=self.name, service_account=SERVICE_ACCOUNT)

    def give(self, role: iam.IRole) -> eks.CfnPodIdentityAssociation:
        """Give the builders a role."""
        return eks.CfnPodIdentityAssociation(
            self,
            "Identity",
            cluster_name=self._cluster.cluster.cluster_name,
            namespace=self.name,
            service_account=SERVICE_ACCOUNT,
            role_arn=role.role_arn,
        )


def _admit(policy: KubernetesManifest, namespaces: Sequence[str], vpc_cidr: str | None) -> None:
    from_namespaces, from_vpc = policy.document["spec"]["ingress"]
    from_namespaces["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] = [*namespaces]
    from_vpc["from"][0]["ipBlock"]["cidr"] = vpc_cidr
    policy.set("spec/ingress", [*([from_namespaces] if namespaces else []), *([from_vpc] if vpc_cidr else [])])
