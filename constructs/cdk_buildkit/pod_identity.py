"""Whom a role trusts that EKS Pod Identity gives to pods."""

from aws_cdk import aws_iam as iam

from cdk_buildkit.builder_cluster import BuilderCluster


def pod_identity_principal(cluster: BuilderCluster, *, namespace: str, service_account: str) -> iam.IPrincipal:
    """Return the principal for pods of one service account in one namespace of one cluster, and no others."""
    # The session's tags, which EKS alone sets: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html
    return iam.SessionTagsPrincipal(
        iam.ServicePrincipal(
            "pods.eks.amazonaws.com",
            conditions={
                "StringEquals": {
                    "aws:RequestTag/eks-cluster-arn": cluster.cluster.cluster_arn,
                    "aws:RequestTag/kubernetes-namespace": namespace,
                    "aws:RequestTag/kubernetes-service-account": service_account,
                }
            },
        )
    )
