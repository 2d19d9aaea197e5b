"""The cache options of one branch's build, with the one import that is there, in the forms that clients read."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from buildkit_ops.account import Account
from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from buildkit_ops.failures import CACHE_NAME, ONE_ARCHITECTURE, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.own_credentials import refuse_own_credentials
from buildkit_ops.registry_cache import Repository, cache_tag, registry_cache_options


class Form(StrEnum):
    """How the options are written."""

    BUILD = "build"
    BAKE = "bake"
    GITHUB_OUTPUT = "github-output"
    ECR = "ecr"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What is built.

    Args:
        project: The project, whatever its name.
        branch: The branch that is built, and exported to.
        default_branch: The branch whose cache is imported while that one has none. Default: nothing is.
    """

    project: str
    branch: str
    default_branch: str | None = None

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches to import from, the best first."""
        return tuple(dict.fromkeys(each for each in (self.branch, self.default_branch) if each is not None))


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The options, and what was chosen.

    Args:
        options: The options.
        found: What is imported, as the chooser named it; None: nothing is there yet.
    """

    options: CacheOptions
    found: dict[str, Any] | None


def fleet_flags(account: Account, fleet: FleetOutputs, branch: Branch, architectures: Sequence[Architecture]) -> Flags:
    """Ask the fleet which cache is there, and write the options of its S3 cache.

    Raises:
        ToolError: Project or branch is no name, or the fleet did not say.
    """
    try:
        names = [cache_name(branch.project, each) for each in branch.branches]
    except ValueError as error:
        raise ToolError(CACHE_NAME, reason=error) from None
    answer = account.invoke(
        fleet.cache_names_function,
        {"names": names, "architectures": [each.value for each in architectures]},
        what="ask which cache to import",
        grant="grant_connect",
    )
    choice = answer["choice"]
    source = (CacheScope(choice["scope"]), choice["name"]) if choice else None
    return Flags(options=cache_options(fleet.write, names[0], source=source), found=choice)


def registry_flags(
    account: Account, repository: Repository, branch: Branch, architectures: Sequence[Architecture]
) -> Flags:
    """Look which cache is there in a repository, and write the options of it.

    Raises:
        ToolError: Project or branch is no name, not one architecture is meant, or the registry did not say.
    """
    if len(architectures) != 1:
        raise ToolError(ONE_ARCHITECTURE, given=", ".join(architectures) or "none")
    try:
        tags = [cache_tag(branch.project, each, architectures[0]) for each in branch.branches]
    except ValueError as error:
        raise ToolError(CACHE_NAME, reason=error) from None
    there = account.tags_of(repository.name, repository.registry, tags)
    source = next((tag for tag in tags if tag in there), None)
    return Flags(
        options=registry_cache_options(repository, tags[0], source=source), found={"tag": source} if source else None
    )


def with_own(flags: Flags, *, cache_from: Sequence[str], cache_to: Sequence[str]) -> Flags:
    """Add options of the caller's own.

    Raises:
        ToolError: One would send credentials.
    """
    for each in (*cache_from, *cache_to):
        refuse_own_credentials(each)
    options = CacheOptions(
        cache_from=(*flags.options.cache_from, *cache_from), cache_to=(*flags.options.cache_to, *cache_to)
    )
    return replace(flags, options=options)


def write(options: CacheOptions, form: Form, *, target: str) -> str:
    """Write options for `docker buildx build`, as an override file for `docker buildx bake`, or as a step's outputs.

    Args:
        options: The options.
        form: The form.
        target: The target of `bake`.
    """
    if form is Form.BAKE:
        values = {"cache-from": list(options.cache_from), "cache-to": list(options.cache_to)}
        return json.dumps({"target": {target: values}}, indent=2)
    if form is Form.GITHUB_OUTPUT:
        return "\n".join((*_output("cache-from", options.cache_from), *_output("cache-to", options.cache_to)))
    # For `$(...)`, which reads no quotes; names that `cache_name` makes need none.
    return " ".join(options.arguments)


def _output(name: str, values: Sequence[str]) -> list[str]:
    # Of several lines, as docker/build-push-action reads lists.
    return [f"{name}<<END-OF-{name}", *values, f"END-OF-{name}"]
