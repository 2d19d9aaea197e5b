"""What a job of GitHub Actions builds, by what its runner says of it, and what its steps are told."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit_ops import failures
from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from buildkit_ops.failures import NO_GITHUB_JOB, Failure, ToolError
from buildkit_ops.github_job import GithubJob, error_command, step_variables
from local.github_runner import HOOKS, read_environment_file

PULL_REQUEST = {"GITHUB_REF_NAME": "5/merge", "GITHUB_HEAD_REF": "main"}
QUEUED = "gh-readonly-queue/release/1.x/pr-104-7b3ab0a5d27a4d4a8f7ef5c5b1f2b2f5a9d0c1e2"


def job(tmp_path: Path, event: Any = None, **variables: str) -> GithubJob:  # noqa: ANN401 - JSON
    event_file = tmp_path / "event.json"
    event_file.write_text(json.dumps(event))
    return GithubJob.read(
        {
            "GITHUB_REPOSITORY": "team/app",
            "GITHUB_ENV": str(tmp_path / "environment"),
            "GITHUB_EVENT_PATH": str(event_file),
            **variables,
        }
    )


def pull_request(repository: str | None) -> dict[str, Any]:
    head = {"label": "someone:main", "repo": {"full_name": repository} if repository else None}
    return {"repository": {"default_branch": "main"}, "pull_request": {"head": head}}


@pytest.mark.parametrize(
    ("variables", "event", "branch"),
    [
        ({"GITHUB_REF_NAME": "feature/ü"}, {}, "feature/ü"),
        ({"GITHUB_REF_NAME": "v1.2.3", "GITHUB_REF_TYPE": "tag"}, {}, "v1.2.3"),
        (PULL_REQUEST, pull_request("team/app"), "main"),
        (PULL_REQUEST, pull_request("someone/app"), "someone:main"),
        (PULL_REQUEST, pull_request(None), "someone:main"),
        (PULL_REQUEST, {}, "main"),
        ({"GITHUB_REF_NAME": QUEUED}, {}, "gh-readonly-queue/release/1.x"),
        ({"GITHUB_REF_NAME": "gh-readonly-queue/notes"}, {}, "gh-readonly-queue/notes"),
    ],
    ids=[
        "a push, or by hand",
        "a tag",
        "a pull request",
        "a fork's",
        "of a fork that is gone",
        "a pull request of which nothing is known",
        "a merge queue's",
        "a branch that looks like one",
    ],
)
def test_the_branch_is_what_is_built(
    tmp_path: Path, variables: dict[str, str], event: dict[str, Any], branch: str
) -> None:
    assert job(tmp_path, event, **variables).branch.branch == branch


def test_the_default_branch_is_what_the_event_says(tmp_path: Path) -> None:
    event = {"repository": {"default_branch": "trunk"}}

    assert job(tmp_path, event, GITHUB_REF_NAME="feature").branch.branches == ("feature", "trunk")


@pytest.mark.parametrize("event", [None, [], {"repository": None}, {"repository": {"default_branch": 1}}])
def test_without_a_default_branch_a_job_builds_all_the_same(tmp_path: Path, event: object) -> None:
    assert job(tmp_path, event, GITHUB_REF_NAME="feature").branch.branches == ("feature",)


@pytest.mark.parametrize("path", ["", "/nowhere/event.json"])
def test_without_an_event_too(tmp_path: Path, path: str) -> None:
    assert job(tmp_path, GITHUB_EVENT_PATH=path, GITHUB_REF_NAME="feature").branch.branches == ("feature",)


@pytest.mark.parametrize("name", ["GITHUB_REPOSITORY", "GITHUB_REF_NAME", "GITHUB_ENV"])
def test_outside_of_a_job_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ToolError, match=f"for {name} is not set") as raised:
        job(tmp_path, **{"GITHUB_REF_NAME": "main", name: ""})

    assert raised.value.failure is NO_GITHUB_JOB


def test_steps_are_told_the_builder_and_the_options_in_every_form() -> None:
    options = cache_options(CacheScope("main"), cache_name("team/app", "feature"))
    (source,), (target,) = options.cache_from, options.cache_to

    assert step_variables("fleet", options) == {
        "BUILDX_BUILDER": "fleet",
        "BUILDKIT_CACHE_ARGS": f"--cache-from {source} --cache-to {target}",
        "BUILDKIT_CACHE_FROM": source,
        "BUILDKIT_CACHE_TO": target,
        "BUILDKIT_BAKE_ARGS": f"--set *.cache-from={source} --set *.cache-to={target}",
    }


def test_several_options_are_lines_of_one_variable() -> None:
    options = cache_options(CacheScope("main"), cache_name("app", "a"), fallback_names=[cache_name("app", "main")])

    assert step_variables("fleet", options)["BUILDKIT_CACHE_FROM"].splitlines() == list(options.cache_from)


def test_no_value_says_more_to_the_runner_than_its_own_variable(tmp_path: Path) -> None:
    told = job(tmp_path, GITHUB_REF_NAME="main")
    values: Mapping[str, str] = {"A": "1\nEVIL=1\nA<<END\nEND", "B": "end-\n$(id)", "C": ""}

    told.environment_file.write_text("BEFORE=1\n")
    told.tell(values)
    told.tell({"D": "4"})

    assert read_environment_file(told.environment_file.read_text()) == {"BEFORE": "1", **values, "D": "4"}
    ends = [line.partition("<<")[2] for line in told.environment_file.read_text().splitlines() if "<<end-" in line]
    assert len({*ends}) == 4


def test_an_error_is_one_line_whatever_its_words() -> None:
    assert error_command("50%\r\nof ::it::") == "::error::50%25%0D%0Aof ::it::"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A tool that writes down how it is called, and fails when it is told to."""
    tool = tmp_path / "cdk-buildkit"
    tool.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/called\n'
        '[ -z "$WORDS" ] || { printf "%b" "$WORDS" >&2; exit 7; }\n'
    )
    tool.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WORDS": ""}


def hook(name: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-e", HOOKS / name], env=environment, capture_output=True, text=True, check=False)


def test_the_image_says_what_a_job_connects_to(tmp_path: Path, environment: dict[str, str]) -> None:
    said = {
        "CDK_BUILDKIT_STACK": "builders",
        "CDK_BUILDKIT_REGION": "eu-west-1",
        "CDK_BUILDKIT_ARCHITECTURES": "arm64 x86_64",
        "CDK_BUILDKIT_TIMEOUT": "3",
    }

    assert hook("job-started.sh", environment | said).returncode == 0

    assert " ".join((tmp_path / "called").read_text().split()) == (
        "github-job builders --timeout 3 --region eu-west-1 --architecture arm64 --architecture x86_64"
    )


def test_a_job_waits_ten_minutes_for_builders_of_every_architecture_in_the_runners_region(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    hook("job-started.sh", environment | {"CDK_BUILDKIT_STACK": "builders"})

    assert (tmp_path / "called").read_text().split() == ["github-job", "builders", "--timeout", "10"]


def test_whatever_is_wrong_the_hook_ends_with_one(environment: dict[str, str]) -> None:
    done = hook("job-started.sh", environment | {"CDK_BUILDKIT_STACK": "builders", "WORDS": "::error::why"})

    assert (done.returncode, done.stderr) == (1, "::error::why")


def test_an_image_that_names_no_stack_says_so(environment: dict[str, str]) -> None:
    done = hook("job-started.sh", environment)

    assert done.returncode == 1
    assert done.stderr.startswith("::error::CDK_BUILDKIT_STACK is not set in the runner's image: set it to the name")


def test_a_job_that_cannot_be_disconnected_is_warned_of_and_does_not_fail(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = hook("job-completed.sh", environment | {"WORDS": "50%\\r\\nof ::it::"})

    assert (done.returncode, done.stdout) == (0, "::warning::50%25%0D%0Aof ::it::\n")
    assert (tmp_path / "called").read_text().split() == ["disconnect", "--builder", "fleet"]


def test_the_page_says_what_a_job_meets_in_the_words_that_it_meets(root: Path) -> None:
    page = (root / "docs/runners.md").read_text()
    _, _, section = page.partition("## When a job is not connected")
    rows = [line.strip("|").split(" | ") for line in section.partition("## ")[0].splitlines() if line.startswith("| ")]
    words = [
        *(
            re.sub(r"\{(\w+)[^}]*\}", r"<\1>", each.words)
            for each in vars(failures).values()
            if isinstance(each, Failure)
        ),
        (HOOKS / "job-started.sh").read_text().partition("::error::")[2],
    ]

    messages = [message.replace("`", "").strip() for message, _, _ in rows[1:]]
    assert len(messages) == 8
    assert [each for each in messages if not any(one.startswith(each) for one in words)] == []
