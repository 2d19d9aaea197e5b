"""GitHub runners as pods of the builders' cluster: a runner scale set that is bound to one fleet of builders."""

import re
from collections.abc import Sequence

from aws_cdk import Duration, Size, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_fleet import grant_build
from cdk_buildkit.builder_images import IMAGE_ALLOWED, how_to_find_digest, is_pinned
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_identity import pod_identity_principal
from cdk_buildkit.runner_controller import RunnerController
from cdk_buildkit.runner_controller_release import RunnerControllerRelease
from cdk_buildkit.runner_group_warning import warn_without_group
from cdk_buildkit.runner_hooks import stack_name

CHART = "gha-runner-scale-set"

EXAMPLE_IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/github-runner:latest"
"""An image that was built from `runner/Dockerfile`."""

SERVICE_ACCOUNT = "runner"
"""Whom EKS Pod Identity gives the runners' role."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_URL = re.compile(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._-]+){1,2}")
_CONTAINER = "template/spec/containers[runner]"


class RunnerScaleSet(Construct):
    """Ephemeral GitHub runners as pods, one for each job, that build on one fleet of builders in the same cluster.

    GitHub's Actions Runner Controller starts them. What is here binds them to the builders: a role by EKS Pod Identity
    that may fetch the client certificate, wake the fleet and push to repositories, and no right on the cache; and the
    settings of the hooks that connect every job before its first step.

    Args:
        builders: The fleet that they build on. It admits their namespace: that is one of its `client_namespaces`.
        github_url: The organization, the repository or the enterprise that they serve, as
            `https://github.com/example`.
        image: What they run: GitHub's runner with `cdk-buildkit` and its hooks, as `runner/Dockerfile` builds it.
        controller: The controller that was installed with `RunnerController`. Default: one that the cluster has
            already, whose service account has the same name and namespace.
        release: The scale set's chart. Default: the controller's.
        name: What a workflow has as `runs-on`.
        namespace: Their namespace. Default: `runners-<name>`.
        github_secret: The Kubernetes secret in their namespace with GitHub's credentials, which the operator makes.
        runner_group: Their runner group in GitHub, which must exist. Default: none, and a warning at synth unless
            `pull_requests` says that it is meant so and nobody else reads what they build.
        pull_requests: They are for the jobs of pull requests: whoever opens one may build here.
        architecture: The architecture of their nodes.
        min_runners: Runners that wait for jobs.
        max_runners: Runners at once, at the most.
        cpu: Processors that are kept for a runner.
        memory: Memory that it gets, and no more.
        repositories: The ECR repositories that jobs may push to and pull from.
        builder_architectures: Which builders jobs connect to. Default: those of every architecture that there is.
        builder_timeout: How long a job waits for builders.

    Raises:
        ValueError: The builders do not admit the namespace, the image is not pinned, a name or the URL is none, or the
            numbers of runners are the wrong way round.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        builders: EksBuilderFleet,
        github_url: str,
        image: str,
        controller: RunnerController | None = None,
        release: RunnerControllerRelease | None = None,
        name: str = "buildkit",
        namespace: str | None = None,
        github_secret: str = "github",  # noqa: S107 - its name
        runner_group: str | None = None,
        pull_requests: bool = False,
        architecture: Architecture = Architecture.X86_64,
        min_runners: int = 0,
        max_runners: int = 10,
        cpu: float = 0.5,
        memory: Size = Size.gibibytes(1),  # noqa: B008 - an immutable value
        repositories: Sequence[ecr.IRepository] = (),
        builder_architectures: Sequence[Architecture] = (),
        builder_timeout: Duration = Duration.minutes(10),  # noqa: B008 - an immutable value
    ) -> None:
        super().__init__(scope, id)
        self.name = name
        self.namespace = namespace or f"runners-{name}"
        self.builders = builders
        self.pull_requests = pull_requests
        self._check(github_url, image, min_runners, max_runners)
        cluster = builders.cluster
        applied = cluster.apply(self, "Namespace", *self._namespace_objects())
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=pod_identity_principal(cluster, namespace=self.namespace, service_account=SERVICE_ACCOUNT),
            description="GitHub runners: the client certificate of their builders, waking, registries",
        )
        grant_build(builders, self.role, repositories=repositories)
        identity = eks.CfnPodIdentityAssociation(
            self,
            "Identity",
            cluster_name=cluster.cluster.cluster_name,
            namespace=self.namespace,
            service_account=SERVICE_ACCOUNT,
            role_arn=self.role.role_arn,
        )
        release = release or (controller.release if controller else RunnerControllerRelease())
        values = KubernetesManifest("runner-scale-set-values")
        values.set("githubConfigUrl", github_url)
        values.set("githubConfigSecret", github_secret)
        values.set("runnerScaleSetName", name)
        values.set("runnerGroup", runner_group or "default")
        values.set("minRunners", min_runners)
        values.set("maxRunners", max_runners)
        values.set("controllerServiceAccount/namespace", RunnerController.namespace)
        values.set("controllerServiceAccount/name", RunnerController.service_account)
        values.set("template/spec/serviceAccountName", SERVICE_ACCOUNT)
        values.set(("template", "spec", "nodeSelector", "kubernetes.io/arch"), architecture.oci_name)
        values.set(f"{_CONTAINER}/image", image)
        values.set(f"{_CONTAINER}/resources/requests/cpu", f"{round(cpu * 1000)}m")
        for kind in ("requests", "limits"):
            values.set(f"{_CONTAINER}/resources/{kind}/memory", f"{round(memory.to_mebibytes())}Mi")
        values.set_environment(
            _CONTAINER,
            {
                "CDK_BUILDKIT_STACK": stack_name(builders),
                "CDK_BUILDKIT_REGION": Stack.of(builders).region,
                "CDK_BUILDKIT_ARCHITECTURES": " ".join(builder_architectures),
                "CDK_BUILDKIT_TIMEOUT": f"{builder_timeout.to_minutes(integral=False):g}",
            },
        )
        chart = cluster.install(
            self,
            "Chart",
            chart=CHART,
            repository=release.chart_url(CHART),
            version=release.version,
            release=name,
            namespace=self.namespace,
            create_namespace=False,
            values=values.document,
        )
        # A pod gets the address of its credentials when it is made.
        chart.node.add_dependency(applied, identity, self.role, *([controller] if controller else []))
        if not runner_group:
            warn_without_group(self, builders=builders, runs_on=name, pull_requests=pull_requests)

    def _namespace_objects(self) -> list[KubernetesManifest]:
        namespace = KubernetesManifest("runner-namespace")
        namespace.set("metadata/name", self.namespace)
        inside = [KubernetesManifest("runner-service-account"), KubernetesManifest("runner-network-policy")]
        for manifest in inside:
            manifest.set("metadata/namespace", self.namespace)
        return [namespace, *inside]

    def _check(self, github_url: str, image: str, min_runners: int, max_runners: int) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                "a runner scale set's name is 1 to 45 lower-case letters, digits and hyphens, no hyphen at an end; got "
                f"{self.name!r}: rename it"
            )
        if not is_github_url(github_url):
            raise ValueError(
                "github_url is that of an organization, a repository or an enterprise, such as "
                f"https://github.com/example/app; got {github_url!r}: write it without anything behind"
            )
        if not is_pinned(image):
            raise ValueError(f"image is {IMAGE_ALLOWED}; got {image!r}: {how_to_find_digest(EXAMPLE_IMAGE)}")
        if not 0 <= min_runners <= max_runners or max_runners == 0:
            raise ValueError(
                "min_runners is at most max_runners, which is 1 or more; got "
                f"{min_runners} and {max_runners}: correct one of them"
            )
        if self.namespace not in self.builders.client_namespaces:
            raise ValueError(
                f"builders admit the namespace of their runners, {self.namespace}; got client_namespaces "
                f"{list(self.builders.client_namespaces)}: add it to those of the EksBuilderFleet"
            )


def is_github_url(url: str) -> bool:
    """Tell whether a URL is one of an organization, a repository or an enterprise, on github.com or a server."""
    return bool(_URL.fullmatch(url))
