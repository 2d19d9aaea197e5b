"""KEDA in a cluster: the autoscaler that follows builds to zero and back, with an identity that reads CloudWatch."""

from typing import Any

import yaml
from aws_cdk import Duration
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.keda_release import KedaRelease
from cdk_buildkit.kubernetes_manifest import MANIFESTS
from cdk_buildkit.pod_identity import pod_identity_principal

NAMESPACE = "keda"
SERVICE_ACCOUNT = "keda-operator"
"""The chart's own name for it."""


class KedaOperator(Construct):
    """Installs KEDA once for a cluster, however many fleets it has.

    Its operator's role is bound by EKS Pod Identity and may read metrics, nothing else. A cluster that has KEDA
    already must not get another: there the role that its operator has needs `cloudwatch:GetMetricData`.

    Args:
        cluster: The cluster, with the Pod Identity agent that Auto Mode has built in.
        release: Which KEDA. Default: `KedaRelease()`.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        release: KedaRelease | None = None,
    ) -> None:
        super().__init__(scope, id)
        release = release or KedaRelease()
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=pod_identity_principal(cluster, namespace=NAMESPACE, service_account=SERVICE_ACCOUNT),
            description="KEDA: reads the metrics that it scales on",
        )
        # It takes no resource:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
        iam.Grant.add_to_principal(grantee=self.role, actions=["cloudwatch:GetMetricData"], resource_arns=["*"])
        acknowledge(self.role, "IAM5[Resource::*]", "GetMetricData takes no resource.")
        association = eks.CfnPodIdentityAssociation(
            self,
            "Identity",
            cluster_name=cluster.cluster.cluster_name,
            namespace=NAMESPACE,
            service_account=SERVICE_ACCOUNT,
            role_arn=self.role.role_arn,
        )
        chart = cluster.install(
            self,
            "Chart",
            chart="keda",
            repository=release.chart_repository,
            version=release.version,
            release="keda",
            namespace=NAMESPACE,
            values=_values(release),
            wait=True,
            timeout=Duration.minutes(10),
        )
        # A pod gets the address of its credentials when it is made.
        chart.node.add_dependency(association, self.role)


def _values(release: KedaRelease) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((MANIFESTS / "keda-values.yaml").read_text())
    values["image"]["keda"] = {"tag": release.tag(release.operator_digest)}
    values["image"]["metricsApiServer"] = {"tag": release.tag(release.metrics_server_digest)}
    if release.image_registry:
        values["global"] = {"image": {"registry": release.image_registry}}
    return values
