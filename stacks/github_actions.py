"""One role for jobs of GitHub Actions on other runners, bound to one fleet of builders."""

from datetime import timedelta

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit import Ec2BuilderFleet, EksBuilderFleet, GithubActionsRole, GithubSubjects
from stacks.config import GithubActionsConfig
from stacks.ecr_repositories import repository_of


class GithubActionsStack(Stack):
    """Gives as an output what a workflow asks: the role's ARN."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: GithubActionsConfig,
        builders: Ec2BuilderFleet | EksBuilderFleet,
        provider: iam.IOidcProvider | None,
        longest_build: timedelta,
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        if config.oidc_provider_arn:
            provider = iam.OidcProviderNative.from_oidc_provider_arn(self, "Provider", config.oidc_provider_arn)
        assert provider  # noqa: S101 - made where none is given
        role = GithubActionsRole(
            self,
            "Client",
            builders=builders,
            provider=provider,
            subjects=subjects_of(config),
            issuer=config.issuer,
            repositories=[repository_of(self, each) for each in config.ecr_repositories],
            longest_build=longest_build,
        ).role
        CfnOutput(
            self,
            "RoleArn",
            value=role.role_arn,
            description="What a workflow gives the action as role-to-assume",
        )


def subjects_of(config: GithubActionsConfig) -> GithubSubjects:
    """Return the jobs that the settings mean."""
    return GithubSubjects(
        repositories=config.repositories,
        branches=config.branches,
        environments=config.environments,
        pull_requests=config.pull_requests,
    )
