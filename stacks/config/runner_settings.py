"""The settings of GitHub runners and of the programs in their images, their types and their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from buildkit_ops.architecture import Architecture
from cdk_buildkit import CodeBuildRunners, Ec2Runners, FargateRunners
from cdk_buildkit.runner_compute import COMPUTE_TYPES, FARGATE_MEMORY
from cdk_buildkit.runner_tools import BUILDX_URL, ECR_CREDENTIAL_HELPER_URL
from stacks.config.runner_values import Access, EcrRepository, GithubName, RunnerName, ToolVersion
from stacks.config.values import (
    ClientPeer,
    DnsName,
    InstanceType,
    Name,
    PublicBlock,
    ReleaseUrl,
    Sha256,
    between,
    one_of,
    one_of_numbers,
)
from stacks.config.vpc_settings import VpcConfig

_FARGATE = FargateRunners()


@dataclass(frozen=True, kw_only=True)
class ToolConfig:
    """A program of the runners' images.

    Args:
        version: Its release's name.
        sha256: Hexadecimal SHA-256 of each architecture's program.
    """

    version: ToolVersion
    sha256: Mapping[Architecture, Sha256]


@dataclass(frozen=True, kw_only=True)
class BuildxConfig(ToolConfig):
    """The buildx of the runners' images.

    Args:
        url: Where it is; `{version}` and `{architecture}` (`amd64`, `arm64`) are filled in.
    """

    url: ReleaseUrl = BUILDX_URL


@dataclass(frozen=True, kw_only=True)
class EcrCredentialHelperConfig(ToolConfig):
    """The Amazon ECR credential helper of the runners' images.

    Args:
        url: Where it is; `{version}` and `{architecture}` (`amd64`, `arm64`) are filled in.
    """

    url: ReleaseUrl = ECR_CREDENTIAL_HELPER_URL


@dataclass(frozen=True, kw_only=True)
class RunnerToolsConfig:
    """What the images of all runners have beside the engine's programs. Required where there are runners.

    Args:
        buildx: Docker's client of BuildKit.
        ecr_credential_helper: What docker asks for the credentials of ECR.
    """

    buildx: BuildxConfig | None = None
    ecr_credential_helper: EcrCredentialHelperConfig | None = None


@dataclass(frozen=True, kw_only=True)
class AccessConfig:
    """Who may call a page of the engine.

    Args:
        access: `url`, a function URL that the internet reaches; `gateway`, an API for given blocks; `vpc`, an API in
            the runners' VPC for given blocks; or `none`.
        cidrs: The blocks, for `gateway` and `vpc`.
    """

    access: Access = "url"
    cidrs: tuple[PublicBlock, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WarmConfig:
    """Runners that wait for jobs all day, registered before there is one.

    Args:
        count: How many.
        owner: The organization or the user in GitHub.
        repository: The repository, where the engine was set up for repositories. Default: the whole organization.
    """

    count: Annotated[int, between(1, 100)]
    owner: GithubName
    repository: GithubName | None = None


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """A fleet of GitHub runners, bound to one fleet of builders.

    Args:
        builder: The builders' fleet.
        labels: What a job must ask for, all of them, beside `self-hosted`.
        runner_group: The runner group in GitHub. Default: none.
        pull_requests: They are for the jobs of pull requests.
        provider: What they run on: `ec2`, `fargate` or `codebuild`.
        architecture: Their processors' architecture.
        instance_type: The instance type on EC2. Default: a large of the architecture.
        storage_gib: GiB of a runner's disk on EC2 and Fargate.
        cpu: CPU units of a task on Fargate.
        memory_mib: MiB of memory of a task on Fargate.
        compute_type: The size on CodeBuild.
        spot: Ask for spot capacity first, on EC2 and Fargate.
        builder_architectures: The builders that a job connects to. Default: those of every architecture.
        builder_timeout_minutes: Minutes for which a job waits for builders.
        idle_timeout_minutes: Minutes for which a runner waits for its job.
        warm: Runners that wait for jobs. Default: none.
        webhook: How GitHub reaches the webhook.
        setup: How the operator reaches the setup page.
        enterprise_server: The domain of a GitHub Enterprise Server. Default: github.com.
        repositories: The ECR repositories that jobs may push to.
        vpc: An existing VPC for them, in the builders' region and with a route to them. Default: the builders'.
        peers: Who the builders admit for them, where `vpc` is given. Default: its block.
    """

    builder: Name
    labels: tuple[RunnerName, ...] = ("buildkit",)
    runner_group: RunnerName | None = None
    pull_requests: bool = False
    provider: Annotated[str, one_of("ec2", "fargate", "codebuild")] = "ec2"
    architecture: Architecture = Architecture.X86_64
    instance_type: InstanceType | None = None
    storage_gib: Annotated[int, between(21, 16384)] = int(Ec2Runners().storage.to_gibibytes())
    cpu: Annotated[int, one_of_numbers(*FARGATE_MEMORY)] = _FARGATE.cpu
    memory_mib: Annotated[int, between(512, 122880)] = int(_FARGATE.memory.to_mebibytes())
    compute_type: Annotated[str, one_of(*COMPUTE_TYPES)] = CodeBuildRunners().compute_type
    spot: bool = False
    builder_architectures: tuple[Architecture, ...] = ()
    builder_timeout_minutes: Annotated[int, between(1, 60)] = 10
    idle_timeout_minutes: Annotated[int, between(1, 60)] = 5
    warm: WarmConfig | None = None
    webhook: AccessConfig = field(default_factory=AccessConfig)
    setup: AccessConfig = field(default_factory=AccessConfig)
    enterprise_server: DnsName | None = None
    repositories: tuple[EcrRepository, ...] = ()
    vpc: VpcConfig | None = None
    peers: tuple[ClientPeer, ...] = ()
