"""Whom a role means in GitHub: the subjects of jobs' tokens, written from names and never with a wildcard.

https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

REPOSITORY_ALLOWED = (
    "a repository as owner/name, or as owner@id/name@id where its subjects are immutable, without a wildcard"
)
"""What a repository may look like."""

BRANCH_ALLOWED = "a branch's name, of letters, digits and ._/@#+=-, without a wildcard"
"""What a branch may look like."""

ENVIRONMENT_ALLOWED = "an environment's name, 1 to 255 letters, digits, spaces and ._/-, without a wildcard"
"""What an environment may look like."""

LONGEST_SUBJECTS = 1600
"""Characters of all subjects with their quotes and commas: a trust policy has 2,048, those of the rest included
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""

_OWNER, _NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", r"(?!\.{1,2}(?:@|$))[A-Za-z0-9._-]{1,100}"
_REPOSITORY = re.compile(rf"{_OWNER}/{_NAME}|{_OWNER}@[0-9]{{1,20}}/{_NAME}@[0-9]{{1,20}}")
# What git refuses in a name, and what a policy would read as more than its characters: * ? and ${.
_BRANCH = re.compile(r"(?!refs/)(?!.*(\.\.|//|/\.|\.lock(/|$)))[A-Za-z0-9_#+=@][A-Za-z0-9._/@#+=-]{0,243}(?<![./])")
_ENVIRONMENT = re.compile(r"(?! )[A-Za-z0-9 ._/-]{1,255}(?<! )")


def is_repository(value: str) -> bool:
    """Tell whether a repository is named with both its owner and itself, both with their ids or both without."""
    return _REPOSITORY.fullmatch(value) is not None


def is_branch(value: str) -> bool:
    """Tell whether a branch has a name whose characters stand for themselves in a policy."""
    return _BRANCH.fullmatch(value) is not None


def is_environment(value: str) -> bool:
    """Tell whether an environment has a name whose characters stand for themselves in a subject and in a policy."""
    return _ENVIRONMENT.fullmatch(value) is not None


def how_to_write_branch(value: str) -> str:
    """Say how a branch that was refused is written."""
    if value.startswith("refs/"):
        return f"write it without refs/heads/, and no tag: {value.removeprefix('refs/heads/')}"
    return "name each branch that is protected; whoever may push could make one that a wildcard matches"


@dataclass(frozen=True, kw_only=True)
class GithubSubjects:
    """Jobs of GitHub Actions. They are meant when they are of one of the repositories, and of any of the other three.

    Args:
        repositories: Repositories, as `owner/name`; those whose subjects are immutable as `owner@id/name@id`.
        branches: Branches that a job without an environment runs for.
        environments: Environments that a job names.
        pull_requests: Jobs of pull requests without an environment, and then no branch and no environment.

    Raises:
        ValueError: A list is empty or has something else in it, names differ in case alone, they are too many for a
            policy, or pull requests are not alone.
    """

    repositories: Sequence[str]
    branches: Sequence[str] = ()
    environments: Sequence[str] = ()
    pull_requests: bool = False

    def __post_init__(self) -> None:
        for value in self.repositories:
            _require(is_repository(value), value, REPOSITORY_ALLOWED, "write it as its page in GitHub does")
        for value in self.branches:
            _require(is_branch(value), value, BRANCH_ALLOWED, how_to_write_branch(value))
        for value in self.environments:
            _require(is_environment(value), value, ENVIRONMENT_ALLOWED, "rename it, in GitHub too")
        for values in (self.repositories, self.environments):
            if twice := differing_in_case(values):
                raise ValueError(
                    f"GitHub does not tell {twice[0]} from {twice[1]}, and a policy does; got both: keep the one that "
                    "GitHub shows"
                )
        if not self.repositories:
            raise ValueError(
                "a role is for the jobs of at least one repository; got none: name each, for example org/app"
            )
        others = bool(self.branches or self.environments)
        if self.pull_requests and others:
            raise ValueError(
                "a role is for pull requests or for branches and environments, for what pull requests leave in a cache "
                "protected branches must not read; got both: make a role for each, on a fleet for each"
            )
        if not self.pull_requests and not others:
            raise ValueError(
                "a role is for jobs of branches, environments or pull requests; got none of them: name for example the "
                "branch main"
            )
        size = policy_size(self.subjects)
        if size > LONGEST_SUBJECTS:
            raise ValueError(
                f"a trust policy has room for subjects of {LONGEST_SUBJECTS} characters; got {size}: make a further "
                "role for some of the repositories"
            )

    @property
    def subjects(self) -> list[str]:
        """What the claim `sub` of their tokens is, in full."""
        return subjects_of(
            self.repositories,
            branches=self.branches,
            environments=self.environments,
            pull_requests=self.pull_requests,
        )


def subjects_of(
    repositories: Sequence[str], *, branches: Sequence[str], environments: Sequence[str], pull_requests: bool
) -> list[str]:
    """Write the claim `sub` of each job that is meant."""
    contexts = [
        *(f"ref:refs/heads/{each}" for each in branches),
        *(f"environment:{each}" for each in environments),
        *(["pull_request"] if pull_requests else []),
    ]
    return [f"repo:{repository}:{context}" for repository in repositories for context in contexts]


def policy_size(subjects: Sequence[str]) -> int:
    """Count the characters that subjects take in a policy."""
    return sum(len(each) + len('"",') for each in subjects)


def differing_in_case(values: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two names that are one name in GitHub."""
    seen: dict[str, str] = {}
    for value in values:
        if value.casefold() in seen:
            return seen[value.casefold()], value
        seen[value.casefold()] = value
    return None


def _require(holds: bool, given: str, allowed: str, mend: str) -> None:  # noqa: FBT001 - what is required
    if not holds:
        raise ValueError(f"{allowed}; got {given!r}: {mend}")
