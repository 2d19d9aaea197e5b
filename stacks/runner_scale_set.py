"""GitHub runners that are pods, beside the builders that they are bound to."""

from aws_cdk import CfnOutput, Size, Stack
from constructs import Construct

from cdk_buildkit import EksBuilderFleet, RunnerController, RunnerControllerRelease, RunnerScaleSet
from stacks.config import RunnerScaleSetConfig
from stacks.ecr_repositories import repository_of


class RunnerScaleSetStack(Stack):
    """Gives `scale_set`, and as outputs what its operator and its users ask."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        name: str,
        config: RunnerScaleSetConfig,
        builders: EksBuilderFleet,
        controller: RunnerController | None,
        release: RunnerControllerRelease,
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self.scale_set = RunnerScaleSet(
            self,
            "ScaleSet",
            builders=builders,
            github_url=config.github_url,
            image=config.image,
            controller=controller,
            release=release,
            name=name,
            namespace=config.namespace,
            github_secret=config.github_secret,
            runner_group=config.runner_group,
            pull_requests=config.pull_requests,
            architecture=config.architecture,
            min_runners=config.min_runners,
            max_runners=config.max_runners,
            cpu=config.cpu,
            memory=Size.mebibytes(round(config.memory_gib * 1024)),
            repositories=[repository_of(self, each) for each in config.repositories],
        )
        CfnOutput(self, "RunsOn", value=name, description="What a job that wants these runners has as runs-on")
        CfnOutput(
            self,
            "SecretCommand",
            value=f"kubectl create secret generic {config.github_secret} --namespace {self.scale_set.namespace} "
            "--from-literal=github_app_id=... --from-literal=github_app_installation_id=... "
            "--from-file=github_app_private_key=...",
            description="What gives the runners the GitHub app that they register with, once",
        )
