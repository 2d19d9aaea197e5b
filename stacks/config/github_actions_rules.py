"""What the settings of roles for GitHub Actions must be to each other, to their builders and to runners."""

from collections.abc import Iterator, Mapping

from cdk_buildkit.github_subjects import LONGEST_SUBJECTS, differing_in_case, policy_size, subjects_of
from stacks.config.github_actions_settings import GithubActionsConfig
from stacks.config.problems import KeyPath, Problem, listing, quote, refused, suggestion
from stacks.config.runner_scale_set_settings import RunnerScaleSetConfig
from stacks.config.runner_settings import RunnerConfig
from stacks.config.settings import FleetConfig

Runners = Mapping[str, Mapping[str, RunnerConfig | RunnerScaleSetConfig]]
"""Fleets of runners by their names, by the section that they are in."""


def github_actions_problems(
    roles: Mapping[str, GithubActionsConfig], runners: Runners, builders: Mapping[str, FleetConfig]
) -> Iterator[Problem]:
    """Check each role by itself, with the others, and with runners by the sections that they are in."""
    for name, role in roles.items():
        path = ("github_actions", name)
        if role.builder not in builders:
            yield refused(
                (*path, "builder"),
                quote(role.builder),
                f"the name of a fleet of builders ({listing(list(builders))})",
                suggestion(role.builder, list(builders), "choose one of them, for a role is for one fleet alone"),
            )
        problems = [*_subject_problems(path, role)]
        yield from problems or _size_problems(path, role)
        if role.pull_requests:
            yield from _sharing_problems(path, role, roles, runners, builders)
    yield from _provider_problems(roles)


def _subject_problems(path: KeyPath, role: GithubActionsConfig) -> Iterator[Problem]:
    for key in ("repositories", "environments"):
        twice = differing_in_case(getattr(role, key))
        if twice:
            yield refused(
                (*path, key),
                listing(twice),
                "one of the two, for GitHub does not tell them apart and a policy does",
                "keep the one that GitHub shows",
            )
    others = [key for key in ("branches", "environments") if getattr(role, key)]
    if role.pull_requests and others:
        yield refused(
            (*path, "pull_requests"),
            f"true beside {listing(others)}",
            "one of them, for what pull requests leave in a cache protected branches must not read",
            "make a role for each, on a fleet of builders for each",
        )
    if not role.pull_requests and not others:
        yield refused(path, "no jobs", "branches, environments or pull_requests", 'add for example branches = ["main"]')


def _size_problems(path: KeyPath, role: GithubActionsConfig) -> Iterator[Problem]:
    size = policy_size(
        subjects_of(
            role.repositories,
            branches=role.branches,
            environments=role.environments,
            pull_requests=role.pull_requests,
        )
    )
    if size > LONGEST_SUBJECTS:
        yield refused(
            (*path, "repositories"),
            f"subjects of {size} characters",
            f"{LONGEST_SUBJECTS}, for a trust policy has room for no more",
            "make a further role for some of them",
        )


def _sharing_problems(
    path: KeyPath,
    role: GithubActionsConfig,
    roles: Mapping[str, GithubActionsConfig],
    runners: Runners,
    builders: Mapping[str, FleetConfig],
) -> Iterator[Problem]:
    fleet = builders.get(role.builder)
    others = [
        f"{table}.{name}"
        for table, clients in {"github_actions": roles, **runners}.items()
        for name, client in clients.items()
        if client.builder == role.builder and not client.pull_requests
    ]
    if others:
        yield refused(
            (*path, "builder"),
            f"{quote(role.builder)}, on which {listing(others)} too build",
            "a fleet for pull requests alone, for the others would take what those leave in its cache for theirs",
            "make a fleet of builders for pull requests",
        )
    readers = [
        name
        for name, each in builders.items()
        if fleet and name != role.builder and fleet.cache.write in each.cache.read
    ]
    if fleet and readers:
        yield refused(
            (*path, "builder"),
            f"{quote(role.builder)}, whose cache scope {fleet.cache.write} is read by {listing(readers)}",
            "a fleet whose scope nobody else reads, for pull requests write it",
            "make a fleet of builders for pull requests",
        )


def _provider_problems(roles: Mapping[str, GithubActionsConfig]) -> Iterator[Problem]:
    first: dict[str, tuple[str, str | None]] = {}
    for name, role in roles.items():
        arn = role.oidc_provider_arn
        path = ("github_actions", name, "oidc_provider_arn")
        if arn and arn.partition("/")[2] != role.issuer:
            yield refused(
                path, quote(arn), f"the provider for {role.issuer}", "set issuer too, or take the ARN of that provider"
            )
        other, given = first.setdefault(role.issuer, (name, arn))
        if given != arn:
            yield refused(
                path,
                quote(arn) if arn else "nothing",
                f"the same as github_actions.{other} has, for an account has one provider for an issuer",
                "give it in both, or in neither when there is none yet",
            )
