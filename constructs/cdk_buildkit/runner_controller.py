"""GitHub's Actions Runner Controller in a cluster: what starts a pod for every job of a runner scale set."""

import yaml
from aws_cdk import Duration
from constructs import Construct

from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.kubernetes_manifest import MANIFESTS
from cdk_buildkit.runner_controller_release import RunnerControllerRelease

CHART = "gha-runner-scale-set-controller"


class RunnerController(Construct):
    """Installs the controller once for a cluster, however many scale sets it has.

    A cluster that has it already must not get another: there, tell the `RunnerScaleSet` its service account.

    Args:
        cluster: The cluster.
        release: Which controller. Default: `RunnerControllerRelease()`.
    """

    namespace = "arc-systems"
    """The controller's namespace, and that of the listeners, which hold GitHub's credentials."""

    service_account = "arc-controller"
    """Who manages the pods of the scale sets."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        cluster: BuilderCluster,
        release: RunnerControllerRelease | None = None,
    ) -> None:
        super().__init__(scope, id)
        self.release = release or RunnerControllerRelease()
        cluster.install(
            self,
            "Chart",
            chart=CHART,
            repository=self.release.chart_url(CHART),
            version=self.release.version,
            release="arc",
            namespace=self.namespace,
            values={
                **yaml.safe_load((MANIFESTS / "runner-controller-values.yaml").read_text()),
                "serviceAccount": {"create": True, "name": self.service_account},
            },
            wait=True,
            timeout=Duration.minutes(10),
        )
