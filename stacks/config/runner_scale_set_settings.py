"""The settings of GitHub runners that are pods of the builders' cluster, their types and their defaults."""

from dataclasses import dataclass
from typing import Annotated

from buildkit_ops.architecture import Architecture
from cdk_buildkit import RunnerControllerRelease
from cdk_buildkit.runner_scale_set import EXAMPLE_IMAGE, is_github_url
from stacks.config.kubernetes_values import NamespaceName, pinned
from stacks.config.problems import RefusalError
from stacks.config.runner_values import EcrRepository, RunnerName, ToolVersion
from stacks.config.values import Name, between, matching

_RELEASE = RunnerControllerRelease()


def check_github_url(value: str) -> None:
    """Require the URL of an organization, a repository or an enterprise in GitHub."""
    if not is_github_url(value):
        raise RefusalError(
            value,
            "the URL of an organization, a repository or an enterprise",
            "write it without anything behind, for example https://github.com/example",
        )


GithubUrl = Annotated[str, check_github_url]
RunnerImage = Annotated[str, pinned(EXAMPLE_IMAGE)]
ChartRegistry = Annotated[
    str,
    matching(
        r"oci://[!-?A-~]{1,1000}",
        "a URL that begins with oci://, without a user's name",
        "write the registry's whole URL, without a chart's name",
    ),
]
SecretName = Annotated[
    str,
    matching(
        "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        "a Kubernetes secret's name, 1 to 253 lower-case letters, digits, dots and hyphens",
        "write the name that `kubectl create secret` was given",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunnerControllerConfig:
    """GitHub's Actions Runner Controller, which a cluster with runner scale sets has once.

    Args:
        install: Install it. A cluster that has it already must not get another.
        version: The version of its two charts.
        chart_registry: The registry that has them, as an `oci://` URL.
    """

    install: bool = True
    version: ToolVersion = _RELEASE.version
    chart_registry: ChartRegistry = _RELEASE.chart_registry


@dataclass(frozen=True, kw_only=True)
class RunnerScaleSetConfig:
    """GitHub runners as pods, bound to one fleet of builders in the same cluster.

    Args:
        builder: The builders' fleet, which is on EKS.
        github_url: The organization, the repository or the enterprise that they serve.
        image: What they run, pinned by its digest: `runner/Dockerfile` builds it.
        github_secret: The Kubernetes secret with GitHub's credentials.
        runner_group: The runner group in GitHub. Default: none.
        pull_requests: They are for the jobs of pull requests.
        namespace: Their namespace, which the builders admit. Default: `runners-<name>`.
        architecture: The architecture of their nodes.
        min_runners: Runners that wait for jobs.
        max_runners: Runners at once, at the most.
        cpu: Processors that are kept for a runner.
        memory_gib: GiB of memory that a runner gets.
        repositories: The ECR repositories that jobs may push to.
    """

    builder: Name
    github_url: GithubUrl
    image: RunnerImage
    github_secret: SecretName = "github"  # noqa: S105 - its name
    runner_group: RunnerName | None = None
    pull_requests: bool = False
    namespace: NamespaceName | None = None
    architecture: Architecture = Architecture.X86_64
    min_runners: Annotated[int, between(0, 1000)] = 0
    max_runners: Annotated[int, between(1, 1000)] = 10
    cpu: Annotated[float, between(0.1, 1000)] = 0.5
    memory_gib: Annotated[float, between(0.25, 32768)] = 1.0
    repositories: tuple[EcrRepository, ...] = ()
