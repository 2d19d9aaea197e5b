"""The GitHub Action: what it refuses before it begins, its parts, and that its tool is pinned as everything else is."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from buildkit_ops.github_job import GithubJob
from local.emulator.aws import REGION
from tests.workflow_machine import REQUEST_TOKEN, token_server

ROOT = Path(__file__).parent.parent
SETUP = ROOT / "setup"
ACTION = yaml.safe_load((SETUP / "action.yml").read_text())
PAGE = (ROOT / "docs" / "github-actions.md").read_text()
REQUIREMENTS = ROOT / "constructs" / "cdk_buildkit" / "runner" / "requirements.txt"

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Run a half of the action as a runner does, with these inputs."""

    def start(half: str = "main", *, environment: Mapping[str, str] = {}, **inputs: str) -> Any:  # noqa: ANN401
        return subprocess.run(
            ["node", str(SETUP / ACTION["runs"][half])],
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "RUNNER_TEMP": str(tmp_path / "temporary"),
                "GITHUB_ENV": str(tmp_path / "environment"),
                **{f"INPUT_{name.upper().replace('_', '-')}": value for name, value in inputs.items()},
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"python": "python3"}, "the input stack is missing; give the name of a fleet's stack, as `cdk list` shows it"),
        (
            {"stack": "buildkit-builders-main", "python": "no-python"},
            "the tool needs Python 3.11 or newer; got no-python, ",
        ),
        (
            {"stack": "buildkit-builders-main", "python": "python3", "role_to_assume": "arn:aws:iam::1:role/x"},
            "this job gets no token to assume the role with; give it `permissions: id-token: write`",
        ),
    ],
    ids=["stack", "python", "permissions"],
)
def test_what_the_action_cannot_do_is_said_before_it_begins(
    start: Start, tmp_path: Path, inputs: dict[str, str], words: str
) -> None:
    done = start(**inputs)

    assert done.returncode == 1
    assert done.stdout.startswith(f"::error::cdk-buildkit: {words}")
    assert words.replace("`", "").partition("got")[0] in PAGE.replace("`", "")
    assert not (tmp_path / "temporary").exists()


def test_a_tool_that_cannot_be_installed_fails_the_job_with_pips_words(start: Start) -> None:
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}

    done = start(stack="buildkit-builders-main", python=sys.executable, environment=nowhere)

    assert done.returncode == 1
    assert done.stdout.startswith("::error::cdk-buildkit: the tool could not be installed: ERROR: Could not find")
    assert len(done.stdout.splitlines()) == 1


def test_the_second_half_has_nothing_to_do_where_the_first_did_nothing(start: Start) -> None:
    done = start("post", stack="buildkit-builders-main")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("request_token", "words"),
    [("another", "GitHub gave no token: HTTP Error 401"), (REQUEST_TOKEN, "was not assumed: ")],
    ids=["no token", "no role"],
)
def test_a_role_that_is_not_assumed_is_said_without_the_token(request_token: str, words: str) -> None:
    with token_server() as issuer:
        done = subprocess.run(
            [sys.executable, "-I", str(SETUP / "credentials.py")],
            env={
                "ACTIONS_ID_TOKEN_REQUEST_URL": issuer.url,
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": request_token,
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                "AWS_REGION": REGION,
                "AWS_MAX_ATTEMPTS": "1",
                "CDK_BUILDKIT_ROLE_TO_ASSUME": "arn:aws:iam::111122223333:role/x",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert not [each for each in (*issuer.tokens, request_token) if each in done.stderr]


def test_the_action_has_a_step_of_its_own_after_the_jobs_last() -> None:
    assert ACTION["runs"].keys() == {"using", "main", "post"}  # no post-if: it runs however the job ends
    for half in ("main", "post"):
        assert (SETUP / ACTION["runs"][half]).is_file()


def test_every_input_reaches_the_scripts_and_is_on_the_page() -> None:
    (listed,) = re.findall(r"INPUTS = (\[.+\]);", (SETUP / "script.js").read_text())
    table = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)

    assert json.loads(listed.replace("'", '"')) == list(ACTION["inputs"])
    assert [name for name in table if name in ACTION["inputs"]] == list(ACTION["inputs"])


def test_all_that_the_tool_imports_is_pinned_for_it_by_sums() -> None:
    imported = {
        name.partition(".")[0]
        for path in [*(ROOT / "constructs" / "buildkit_ops").glob("*.py"), SETUP / "credentials.py"]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _names(node)
    }
    distributions = packages_distributions()
    wanted = {distributions[name][0] for name in imported if name in distributions} - {"cdk-buildkit"}
    pinned = dict(re.findall(r"^([a-z0-9-]+)==.+\\\n +--hash=(sha256):", REQUIREMENTS.read_text(), re.MULTILINE))

    assert {"boto3", "rich", "typer"} <= wanted <= pinned.keys()


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [each.name for each in node.names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []


def test_a_project_and_a_branch_that_are_given_take_the_place_of_githubs() -> None:
    environment = {
        "GITHUB_REPOSITORY": "org/app",
        "GITHUB_REF_NAME": "main",
        "GITHUB_ENV": "environment",
        "CDK_BUILDKIT_PROJECT": "org/app/web",
        "CDK_BUILDKIT_BRANCH": "release",
    }

    job = GithubJob.read(environment)

    assert (job.branch.project, job.branch.branch) == ("org/app/web", "release")
