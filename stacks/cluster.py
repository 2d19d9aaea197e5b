"""The cluster: a new one with EKS Auto Mode, or a given one, for every fleet of pods."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from cdk_buildkit import (
    BuilderCluster,
    ExistingCluster,
    KedaOperator,
    KedaRelease,
    RunnerController,
    RunnerControllerRelease,
)
from stacks.config import KubernetesConfig


class ClusterStack(Stack):
    """Gives the fleets' stacks `cluster`, and `keda` and `runner_controller` where they are installed here."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: KubernetesConfig,
        vpc: ec2.IVpc,
        has_runners: bool,
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        given = config.cluster
        self.cluster = BuilderCluster(
            self,
            "Cluster",
            vpc=vpc,
            version=config.version,
            admin_principals=config.admin_principals,
            public_access_cidrs=config.public_access_cidrs,
            existing=ExistingCluster(
                name=given.name, security_group_id=given.security_group_id, auto_mode=given.auto_mode
            )
            if given
            else None,
        )
        keda = config.keda
        self.keda = (
            KedaOperator(
                self,
                "Keda",
                cluster=self.cluster,
                release=KedaRelease(
                    version=keda.version,
                    chart_repository=keda.chart_repository,
                    image_registry=keda.image_registry,
                    operator_digest=keda.operator_digest,
                    metrics_server_digest=keda.metrics_server_digest,
                ),
            )
            if keda.install
            else None
        )
        runners = config.runner_controller
        self.runner_release = RunnerControllerRelease(version=runners.version, chart_registry=runners.chart_registry)
        self.runner_controller = (
            RunnerController(self, "RunnerController", cluster=self.cluster, release=self.runner_release)
            if has_runners and runners.install
            else None
        )
        CfnOutput(
            self,
            "ClusterName",
            value=self.cluster.cluster.cluster_name,
            description="For `aws eks update-kubeconfig --name`, by who administers it",
        )
