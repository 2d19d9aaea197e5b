"""A role that jobs of GitHub Actions assume by their token, on any runner that reaches the builders."""

from collections.abc import Sequence
from datetime import timedelta

import jsii
from aws_cdk import Duration
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct, IValidation

from cdk_buildkit.builder_fleet import BuilderFleet, grant_build, other_readers
from cdk_buildkit.github_runner_fleet import GithubRunnerFleet
from cdk_buildkit.github_subjects import GithubSubjects
from cdk_buildkit.runner_scale_set import RunnerScaleSet

GITHUB_ISSUER = "token.actions.githubusercontent.com"
"""Who issues the tokens of github.com's jobs, without `https://`."""

AUDIENCE = "sts.amazonaws.com"
"""Whom a token must be made out to."""

_LONGEST_SESSION = timedelta(hours=12)
_AFTER_BUILD = timedelta(hours=1)


class GithubActionsRole(Construct):
    """A role for given jobs of GitHub, to build on one fleet of builders. It has no right on the cache.

    A job proves what it is with a token that GitHub makes for it, and holds no secret. Jobs of pull requests get a role
    of their own, on a fleet whose cache nobody else reads.

    Args:
        builders: The fleet that they build on.
        provider: The account's OpenID Connect provider for `issuer`; an account has one for each issuer. To make it:
            `iam.OidcProviderNative(self, "Github", url="https://token.actions.githubusercontent.com",
            client_ids=["sts.amazonaws.com"])`.
        subjects: The jobs.
        issuer: Who issues their tokens, without `https://`. A GitHub Enterprise Server's is `<domain>/_services/token`.
        repositories: The ECR repositories that they may push to and pull from.
        longest_build: The longest build that the fleet keeps a builder for. A session may be an hour longer, at most
            the 12 hours that IAM has.

    Raises:
        ValueError: The issuer is none. At synth, where they are jobs of pull requests: others read the fleet's scope,
            or other jobs build on the fleet.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        builders: BuilderFleet,
        provider: iam.IOidcProvider,
        subjects: GithubSubjects,
        issuer: str = GITHUB_ISSUER,
        repositories: Sequence[ecr.IRepository] = (),
        longest_build: timedelta = timedelta(hours=1),
    ) -> None:
        super().__init__(scope, id)
        if "//" in issuer or not issuer.partition("/")[0].count("."):
            raise ValueError(
                f"an issuer is a domain, and a path where it has one; got {issuer!r}: write it without https://, for "
                f"example {GITHUB_ISSUER}"
            )
        self.builders = builders
        self.subjects = subjects
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.WebIdentityPrincipal(
                provider.oidc_provider_arn,
                # Equal, and no pattern: a pattern in the owner or the repository would let strangers in.
                {"StringEquals": {f"{issuer}:aud": AUDIENCE, f"{issuer}:sub": subjects.subjects}},
            ),
            description=f"GitHub Actions: builds on {builders.domain_name}",
            max_session_duration=Duration.seconds(
                int(min(longest_build + _AFTER_BUILD, _LONGEST_SESSION).total_seconds())
            ),
        )
        grant_build(builders, self.role, repositories=repositories)
        if subjects.pull_requests:
            self.node.add_validation(_PullRequestsAlone(self))


@jsii.implements(IValidation)
class _PullRequestsAlone:
    """Refuses at validation: readers and other clients may come after the role."""

    def __init__(self, role: GithubActionsRole) -> None:
        self._role = role

    @jsii.member(jsii_name="validate")
    def validate(self) -> list[str]:
        builders = self._role.builders
        others = [f"its cache scope {builders.write.name} is read by {each}" for each in other_readers(builders)]
        others += [
            f"{each.node.path} lets other jobs build there"
            for each in self._role.node.root.node.find_all()
            if _lets_others_build(each, builders)
        ]
        if not others:
            return []
        reason = (
            "jobs of pull requests build on a fleet of their own, for what they leave in its cache others would take "
            f"for theirs; got {builders.domain_name}, and {', '.join(others)}: make a fleet of builders for pull "
            "requests"
        )
        return [reason]


def _lets_others_build(construct: IConstruct, builders: BuilderFleet) -> bool:
    match construct:
        case GithubActionsRole():
            return construct.builders is builders and not construct.subjects.pull_requests
        case GithubRunnerFleet() | RunnerScaleSet():
            return construct.builders is builders and not construct.pull_requests
    return False
