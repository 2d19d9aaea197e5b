"""The workflows of the documentation, parsed and run: real buildx on a real builder, and an emulated account.

What runs them is nektos/act without containers, which takes the working tree for what actions/checkout brings. The
token comes from a server here in place of GitHub's; `tests/workflows` says what else stands in for what.
"""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from subprocess import CompletedProcess
from typing import Any

import pytest

from local.builder import Builder
from local.client import DECOY_ACCESS_KEY
from local.deployment import REPOSITORY
from local.emulator.aws import REGION, Aws
from local.emulator.read_back import read_back
from local.fleet_address import fleet_address
from local.lab import ARCHITECTURE, Lab
from local.workflow_runner import fetch_packages, install_act
from tests.client_machine import BUILT, BUILT_STEPS
from tests.workflow_machine import (
    REQUEST_TOKEN,
    WORKFLOWS,
    TokenServer,
    WorkflowMachine,
    token_server,
    workflows_of,
)

STACK = "workflows-builders-site"
CONFIG = f"""
[deployment]
name = "workflows"
[builders.site]
architectures = ["{ARCHITECTURE}"]
prove_boot = false
[github_actions.site]
builder = "site"
repositories = ["org/app"]
branches = ["main"]
"""
MANIFEST = "site/manifests/org%2Fapp/main"

HOOKS = ("job-started", "job-completed")
(ON_FLEETS_OWN,) = workflows_of("README.md")
(ON_OTHERS,) = workflows_of("docs/github-actions.md")
SETUP = next(each for each in ON_OTHERS["jobs"]["image"]["steps"] if "/setup@" in each.get("uses", ""))
ACTIONS = {
    SETUP["uses"].replace("/setup@", "@"): REPOSITORY,
    "docker/build-push-action@v6": WORKFLOWS / "build-push-action",
    "example/witness@v1": WORKFLOWS / "witness",
}


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A second deployment in the same account, with a role for GitHub Actions."""
    directory = tmp_path_factory.mktemp("workflows")
    (directory / "builders.toml").write_text(CONFIG)
    other = copy.copy(lab)
    other.deployment = lab.new_deployment(directory, config=directory / "builders.toml", name="workflows")
    other.deployment.deploy()
    return other


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenServer]:
    """Return who gives jobs their tokens."""
    with token_server() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def runner(
    site: Lab, issuer: TokenServer, tmp_path_factory: pytest.TempPathFactory, busybox_arguments: list[str]
) -> WorkflowMachine:
    runner = WorkflowMachine(
        tmp_path_factory.mktemp("runner"),
        install_act(),
        {
            "AWS_ENDPOINT_URL": site.emulator.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            # What is installed is fetched once, not by every job.
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(fetch_packages()),
            "BUSYBOX": busybox_arguments[1].removeprefix("busybox="),
        },
    )
    assert issuer.url
    (runner.tree / "Dockerfile").write_text(f"FROM busybox\n{BUILT_STEPS[0]}\n{BUILT_STEPS[1]}\n")
    return runner


@pytest.fixture(scope="module")
def builder(site: Lab, runner: WorkflowMachine) -> Iterator[Builder]:
    with site.builder("site") as builder, ExitStack() as undo:
        name = site.deployment.domain_name("site")
        undo.enter_context(fleet_address(name, runner.directory, {ARCHITECTURE: builder.address}))
        yield builder


@pytest.fixture(scope="module")
def run(runner: WorkflowMachine, site: Lab, issuer: TokenServer) -> Callable[[], CompletedProcess[str]]:
    """Run the page's workflow, with a step at its end that shows what every step sees."""
    workflow = copy.deepcopy(ON_OTHERS)
    steps = workflow["jobs"]["image"]["steps"]
    steps.insert(0, {"uses": "example/witness@v1"})  # the first has the last word
    for step in steps:
        if step.get("uses") == SETUP["uses"]:
            step["with"] |= {"stack": STACK, "region": REGION}
    steps.append({"run": "env | grep --extended-regexp '^(AWS|BUILD|DOCKER)' | sed 's/^/seen: /'"})
    steps.append({"run": 'find "$RUNNER_TEMP" -name tls.key | sed "s/^/seen: CERTIFICATE=/"'})
    return lambda: runner.run(
        workflow,
        variables={"BUILDKIT_ROLE": role_arn(site), "IMAGE": "registry.example.com/app"},
        environment={"ACTIONS_ID_TOKEN_REQUEST_URL": issuer.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN},
        actions=ACTIONS,
    )


def left(job: CompletedProcess[str]) -> list[str]:
    """Return what was in the job's own directory after the steps of all its actions."""
    return re.findall(r"left: (.+)", job.stdout)


def role_arn(site: Lab) -> str:
    (stack,) = aws(site, "cloudformation").describe_stacks(StackName="workflows-github-actions-site")["Stacks"]
    return str({each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}["RoleArn"])


def aws(site: Lab, service: str) -> Any:  # noqa: ANN401 - boto3 makes it at run time
    return Aws(site.emulator.endpoint_url).client(service)


def test_the_role_and_the_provider_read_back_as_declared(site: Lab) -> None:
    result = read_back(site.emulator.endpoint_url, site.deployment.assembly)

    assert result.is_clean, (result.differences, result.unchecked)


@pytest.fixture(scope="module")
def first(builder: Builder, run: Callable[[], CompletedProcess[str]]) -> CompletedProcess[str]:
    """The page's workflow, run for the first time."""
    assert builder.address
    return run()


def test_a_job_on_another_runner_builds_on_the_fleet_and_leaves_its_cache(
    first: CompletedProcess[str], site: Lab
) -> None:
    assert first.returncode == 0, first.stdout
    assert all(each in first.stdout for each in BUILT)
    puts = [each for each in site.cache_requests() if each.method == "PUT" and each.key == MANIFEST]
    assert {each.access_key for each in puts} == {site.credentials("site")["AccessKeyId"]}


def test_the_steps_of_a_job_get_the_builder_and_the_options_and_no_key(first: CompletedProcess[str]) -> None:
    seen = dict(re.findall(r"seen: (\w+)=(.*)", first.stdout))

    assert seen["BUILDX_BUILDER"] == "fleet"
    assert seen["BUILDKIT_CACHE_FROM"].startswith("type=s3,prefix=site/,name=org%2Fapp/main,access_key_id=,")
    given = {name: value for name, value in seen.items() if name.startswith("AWS_") and "URL" not in name}
    assert given == {
        "AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "decoy-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_the_log_of_a_job_holds_no_secret(first: CompletedProcess[str], issuer: TokenServer) -> None:
    log = first.stdout + first.stderr

    assert issuer.tokens
    assert [each for each in (*issuer.tokens, REQUEST_TOKEN, "PRIVATE KEY", "SessionToken") if each in log] == []
    assert set(re.findall(r"\bA(?:SIA|KIA)[A-Z0-9]{8,}", log)) == {DECOY_ACCESS_KEY}


def test_nothing_is_left_on_the_machine_after_the_job(first: CompletedProcess[str], runner: WorkflowMachine) -> None:
    assert "seen: CERTIFICATE=" in first.stdout  # it was there before
    assert left(first) == ["no more"]
    assert runner.state() == []
    assert not (runner.home / ".docker").exists()


@pytest.mark.usefixtures("first")
def test_the_next_job_takes_every_step_from_the_cache_on_a_fresh_builder(
    run: Callable[[], CompletedProcess[str]], runner: WorkflowMachine, site: Lab
) -> None:
    position = site.emulator.log.position
    with (
        site.builder("site") as fresh,
        fleet_address(site.deployment.domain_name("site"), runner.directory, {ARCHITECTURE: fresh.address}),
    ):
        second = run()

    assert second.returncode == 0, second.stdout
    assert not [each for each in BUILT if each in second.stdout]
    readers = {each.access_key for each in site.cache_requests(since=position) if "/blobs/" in each.key}
    assert readers == {site.credentials("site")["AccessKeyId"]}


@pytest.mark.usefixtures("first")
def test_a_job_whose_token_says_something_else_fails_before_it_builds(
    run: Callable[[], CompletedProcess[str]], issuer: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "subject", "repo:org/app:pull_request")

    refused = run()

    assert refused.returncode != 0
    assert "Not authorized to perform sts:AssumeRoleWithWebIdentity" in refused.stdout
    assert "its trust names" in refused.stdout
    assert "[1/3]" not in refused.stdout
    assert left(refused) == ["no more"]


@pytest.mark.usefixtures("first")
def test_the_readmes_workflow_builds_on_a_runner_whose_hooks_run_before_and_after_it(
    runner: WorkflowMachine, site: Lab, issuer: TokenServer
) -> None:
    keys = aws(site, "sts").assume_role_with_web_identity(
        RoleArn=role_arn(site), RoleSessionName="runner", WebIdentityToken=issuer.token("sts.amazonaws.com")
    )["Credentials"]
    workflow = copy.deepcopy(ON_FLEETS_OWN)
    job = workflow["jobs"]["image"]
    hooks = {name: {"run": f"bash {REPOSITORY}/constructs/cdk_buildkit/runner/{name}.sh"} for name in HOOKS}
    # GitHub's runner runs them around a job; act does not know of them.
    job["steps"] = [hooks["job-started"], *job["steps"], {"if": "always()", **hooks["job-completed"]}]

    done = runner.run(
        workflow,
        variables={"IMAGE": "registry.example.com/app"},
        environment={
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
            "CDK_BUILDKIT_STACK": STACK,
            "CDK_BUILDKIT_REGION": REGION,
        },
        actions={},
    )

    assert done.returncode == 0, done.stdout
    assert "importing cache manifest from s3" in done.stdout
    assert not [each for each in BUILT if each in done.stdout]
    assert runner.state() == []
