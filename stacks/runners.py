"""One fleet of GitHub runners, beside the builders that it is bound to."""

from aws_cdk import CfnOutput, Duration, Size, Stack
from aws_cdk import aws_ec2 as ec2
from cloudsnorkel import cdk_github_runners as engine
from constructs import Construct

from cdk_buildkit import (
    CodeBuildRunners,
    Ec2BuilderFleet,
    Ec2Runners,
    EksBuilderFleet,
    FargateRunners,
    GithubRunnerFleet,
    PinnedTool,
    RunnerTools,
)
from cdk_buildkit.runner_compute import DEFAULT_INSTANCE_TYPES, RunnerCompute
from stacks.config import AccessConfig, RunnerConfig, RunnerToolsConfig
from stacks.ecr_repositories import repository_of
from stacks.fleet_stack import peer_of


class RunnersStack(Stack):
    """Gives `fleet`, and as outputs what its operator and its users ask."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: RunnerConfig,
        tools: RunnerToolsConfig,
        builders: Ec2BuilderFleet | EksBuilderFleet,
        vpc: ec2.IVpc | None,
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        # cfn-lint's word for a dependency that a reference makes already; the engine's templates have dozens.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W3005"]}}}
        self.fleet = GithubRunnerFleet(
            self,
            "Fleet",
            builders=builders,
            tools=tools_of(tools),
            labels=config.labels,
            runner_group=config.runner_group,
            pull_requests=config.pull_requests,
            compute=compute_of(config),
            vpc=vpc,
            peers=[peer_of(each) for each in config.peers or (config.vpc.cidr,)] if config.vpc else [],
            repositories=[repository_of(self, each) for each in config.repositories],
            registries=sorted({uri.partition("/")[0] for uri in config.repositories}),
            builder_architectures=config.builder_architectures,
            builder_timeout=Duration.minutes(config.builder_timeout_minutes),
            idle_timeout=Duration.minutes(config.idle_timeout_minutes),
            webhook_access=_access_of(config.webhook, vpc or builders.vpc),
            setup_access=_access_of(config.setup, vpc or builders.vpc),
            enterprise_server=config.enterprise_server,
        )
        if config.warm:
            engine.AlwaysOnWarmRunner(
                self,
                "Warm",
                runners=self.fleet.runners,
                provider=self.fleet.provider,
                count=config.warm.count,
                owner=config.warm.owner,
                registration_level="repo" if config.warm.repository else "org",
                repo=config.warm.repository,
            )
        CfnOutput(
            self,
            "RunsOn",
            value=f"[{', '.join(('self-hosted', *config.labels))}]",
            description="What a job that wants these runners has as runs-on",
        )


def tools_of(config: RunnerToolsConfig) -> RunnerTools:
    """Return the programs that the settings stand for, which are there where runners are."""
    buildx, helper = config.buildx, config.ecr_credential_helper
    assert buildx  # noqa: S101 - the configuration has been checked
    assert helper  # noqa: S101 - likewise
    return RunnerTools(
        buildx=PinnedTool(version=buildx.version, url=buildx.url, sha256=buildx.sha256),
        ecr_credential_helper=PinnedTool(version=helper.version, url=helper.url, sha256=helper.sha256),
    )


def compute_of(config: RunnerConfig) -> RunnerCompute:
    """Return what the settings let runners run on."""
    storage = Size.gibibytes(config.storage_gib)
    match config.provider:
        case "ec2":
            return Ec2Runners(
                instance_type=config.instance_type or DEFAULT_INSTANCE_TYPES[config.architecture],
                storage=storage,
                spot=config.spot,
            )
        case "fargate":
            return FargateRunners(
                architecture=config.architecture,
                cpu=config.cpu,
                memory=Size.mebibytes(config.memory_mib),
                storage=storage,
                spot=config.spot,
            )
    return CodeBuildRunners(architecture=config.architecture, compute_type=config.compute_type)


def _access_of(config: AccessConfig, vpc: ec2.IVpc) -> engine.LambdaAccess:
    match config.access:
        case "gateway":
            return engine.LambdaAccess.api_gateway(allowed_ips=list(config.cidrs))
        case "vpc":
            return engine.LambdaAccess.api_gateway(allowed_vpc=vpc, allowed_ips=list(config.cidrs))
        case "none":
            return engine.LambdaAccess.no_access()
    return engine.LambdaAccess.lambda_url()
