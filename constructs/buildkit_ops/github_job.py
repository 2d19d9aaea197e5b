"""A job of GitHub Actions that builds on a fleet: which branch it builds, and how it is told what its steps need."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from buildkit_ops.account import Account
from buildkit_ops.buildx import Buildx
from buildkit_ops.cache_flags import Branch, Flags, Form, fleet_flags, write
from buildkit_ops.cache_scope import CacheOptions
from buildkit_ops.connecting import Connection, Wish, connect, disconnect
from buildkit_ops.connection import Connections
from buildkit_ops.failures import NO_GITHUB_JOB, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.waiting import Tell

_QUEUED = re.compile(r"(gh-readonly-queue/.+)/pr-\d+-[0-9a-f]+")


@dataclass(frozen=True, kw_only=True)
class GithubJob:
    """A job, as its runner describes it.

    Args:
        branch: What it builds.
        environment_file: What is written there is in the environment of the job's steps.
    """

    branch: Branch
    environment_file: Path

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the runner's variables (https://docs.github.com/en/actions/reference/workflows-and-actions/variables).

        `CDK_BUILDKIT_PROJECT` and `CDK_BUILDKIT_BRANCH` take the place of what they say.

        Raises:
            ToolError: One is missing.
        """
        for name in ("GITHUB_REPOSITORY", "GITHUB_REF_NAME", "GITHUB_ENV"):
            if not environment.get(name):
                raise ToolError(NO_GITHUB_JOB, name=name)
        event = _event(environment.get("GITHUB_EVENT_PATH"))
        return cls(
            branch=Branch(
                project=environment.get("CDK_BUILDKIT_PROJECT") or environment["GITHUB_REPOSITORY"],
                branch=environment.get("CDK_BUILDKIT_BRANCH") or _branch(environment, event),
                default_branch=_text(event, "repository", "default_branch"),
            ),
            environment_file=Path(environment["GITHUB_ENV"]),
        )

    def tell(self, variables: Mapping[str, str]) -> None:
        """Let the steps that follow have variables, of several lines or not.

        No value ends its own part of the file: what ends it is drawn anew for each
        (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings).
        """
        with self.environment_file.open("a") as file:
            for name, value in variables.items():
                end = f"end-{secrets.token_hex(16)}"
                file.write(f"{name}<<{end}\n{value}\n{end}\n")


def connect_job(  # noqa: D417 - the others are as `connect` has them
    account: Account,
    stack: str,
    wish: Wish,
    *,
    job: GithubJob,
    buildx: Buildx,
    connections: Connections,
    tell: Tell,
) -> tuple[Connection, Flags]:
    """Connect a job to a fleet, and let its steps have the builder's name and the cache options of its branch.

    When it fails nothing of it stays.

    Args:
        job: The job.

    Raises:
        ToolError: Something is in the way.
    """
    connection = connect(account, stack, wish, buildx=buildx, connections=connections, tell=tell)
    try:
        tell("asking which cache to import")
        fleet = FleetOutputs.read(stack, account.stack_outputs(stack))
        flags = fleet_flags(account, fleet, job.branch, tuple(connection.nodes))
        job.tell(step_variables(connection.builder, flags.options))
    except BaseException:
        disconnect(connection.builder, connections=connections)
        raise
    return connection, flags


def step_variables(builder: str, options: CacheOptions) -> dict[str, str]:
    """Return what a job's steps read.

    `BUILDX_BUILDER` is buildx's own. `BUILDX_BAKE_FILE` is, too, and is left alone: where it is set, buildx reads no
    bake file of the repository by itself.
    """
    bake = [
        *(f"--set *.cache-from={value}" for value in options.cache_from),
        *(f"--set *.cache-to={value}" for value in options.cache_to),
    ]
    return {
        "BUILDX_BUILDER": builder,
        "BUILDKIT_CACHE_ARGS": write(options, Form.BUILD, target=""),
        "BUILDKIT_CACHE_FROM": "\n".join(options.cache_from),
        "BUILDKIT_CACHE_TO": "\n".join(options.cache_to),
        "BUILDKIT_BAKE_ARGS": " ".join(bake),
    }


def error_command(words: str) -> str:
    """Write words as the line with which a runner shows an error of the job."""
    for character, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        words = words.replace(character, escaped)
    return f"::error::{words}"


def _branch(environment: Mapping[str, str], event: object) -> str:
    head = environment.get("GITHUB_HEAD_REF")
    if head:
        # A fork's main is not this repository's: its cache gets the name that GitHub shows, `owner:main`.
        fork = _text(event, "pull_request", "head", "repo", "full_name") != environment["GITHUB_REPOSITORY"]
        return (_text(event, "pull_request", "head", "label") if fork else None) or head
    name = environment["GITHUB_REF_NAME"]
    # Every entry of a merge queue has a branch of its own, built once: those of one queue share a cache.
    queued = _QUEUED.fullmatch(name)
    return queued[1] if queued else name


def _event(path: str | None) -> object:
    """Return the event that started the job; None when it cannot be read, and the build does without."""
    try:
        return json.loads(Path(path or "").read_text())
    except (OSError, ValueError):
        return None


def _text(event: object, *keys: str) -> str | None:
    value: Any = event
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
