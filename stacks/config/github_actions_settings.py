"""The settings of roles for jobs of GitHub Actions on other runners, their types, their values and their defaults."""

from dataclasses import dataclass
from typing import Annotated

from cdk_buildkit.github_actions_role import GITHUB_ISSUER
from cdk_buildkit.github_subjects import (
    BRANCH_ALLOWED,
    ENVIRONMENT_ALLOWED,
    REPOSITORY_ALLOWED,
    how_to_write_branch,
    is_branch,
    is_environment,
    is_repository,
)
from stacks.config.problems import RefusalError
from stacks.config.runner_values import EcrRepository
from stacks.config.values import Name, matching


def check_repository(value: str) -> None:
    """Require a repository in GitHub."""
    if not is_repository(value):
        raise RefusalError(value, REPOSITORY_ALLOWED, "write it as its page in GitHub does, for example org/app")


def check_branch(value: str) -> None:
    """Require a branch."""
    if not is_branch(value):
        raise RefusalError(value, BRANCH_ALLOWED, how_to_write_branch(value))


def check_environment(value: str) -> None:
    """Require an environment in GitHub."""
    if not is_environment(value):
        raise RefusalError(value, ENVIRONMENT_ALLOWED, "rename it, in GitHub too")


Issuer = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(/[A-Za-z0-9_-]{1,100}){0,3}",
        "a domain, and a path where it has one",
        "write it without https://, for example github.example.com/_services/token",
    ),
]
OidcProviderArn = Annotated[
    str,
    matching(
        r"arn:aws(-[a-z]+)*:iam::[0-9]{12}:oidc-provider/[a-z0-9.-]+(/[A-Za-z0-9_-]{1,100}){0,3}",
        "an OpenID Connect provider's ARN, arn:aws:iam::<account>:oidc-provider/<issuer>",
        "copy it from the console or the command line",
    ),
]


@dataclass(frozen=True, kw_only=True)
class GithubActionsConfig:
    """A role for jobs of GitHub Actions, bound to one fleet of builders.

    Args:
        builder: The builders' fleet.
        repositories: Repositories in GitHub; those whose subjects are immutable with both ids.
        branches: Branches that a job without an environment runs for.
        environments: Environments that a job names.
        pull_requests: Jobs of pull requests, and no others.
        issuer: Who issues their tokens.
        oidc_provider_arn: The account's provider for the issuer. Default: one is made.
        ecr_repositories: The ECR repositories that they may push to.
    """

    builder: Name
    repositories: tuple[Annotated[str, check_repository], ...]
    branches: tuple[Annotated[str, check_branch], ...] = ()
    environments: tuple[Annotated[str, check_environment], ...] = ()
    pull_requests: bool = False
    issuer: Issuer = GITHUB_ISSUER
    oidc_provider_arn: OidcProviderArn | None = None
    ecr_repositories: tuple[EcrRepository, ...] = ()
