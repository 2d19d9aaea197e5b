"""The hooks around jobs on a real fleet: connected, built as workflows do, disconnected; and what can be wrong."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdk_buildkit.handlers.certificates.authority import CLIENT, Authority
from local.builder import Builder
from local.client import DECOY_ACCESS_KEY
from local.emulator.aws import REGION, Aws
from local.fleet_address import fleet_address
from local.github_runner import GithubRunner, Job
from local.lab import ARCHITECTURE, Lab

STACK = "buildkit-builders-main"
REPOSITORY = "team/hooks"
EVENT = {"repository": {"default_branch": "main"}}
BUILD = "docker buildx build --progress=plain --output=type=image,name=example"
DAY = timedelta(days=1)
IMAGE = {"CDK_BUILDKIT_STACK": STACK, "CDK_BUILDKIT_REGION": REGION, "CDK_BUILDKIT_ARCHITECTURES": ARCHITECTURE.value}
# The tool, but that it waits for no load balancer: what is not reached at once never is here.
IMPATIENT = """
import buildkit_ops.reachability
buildkit_ops.reachability.wait_until_let_in.__kwdefaults__["seconds"] = 0
"""
# The tool, killed as the job's end kills what a cancelled job still runs, when it begins to wait for builders.
KILLED = """
import os, signal
from buildkit_ops import connecting
connecting.wait_for_builders = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""


class Site:
    """A fleet's deployment, and a runner whose jobs build there."""

    def __init__(self, lab: Lab, directory: Path, busybox: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.aws = Aws(lab.emulator.endpoint_url)
        self.name = lab.deployment.domain_name("main")
        self.runner = GithubRunner(directory / "runner", image=IMAGE, account=lab.emulator.environment)
        self.workspace = directory / "workspace"
        self.workspace.mkdir()
        shutil.copy(busybox, self.workspace / "busybox")
        (self.workspace / "Dockerfile").write_text(
            "FROM scratch\nCOPY busybox /busybox\n"
            'RUN ["/busybox", "sh", "-c", "echo ran $((40 + 1)) >/built"]\nRUN ["/busybox", "cat", "/built"]\n'
        )
        (self.workspace / "docker-bake.hcl").write_text('target "default" {\n  tags = ["example"]\n}\n')

    def job(self, branch: str) -> Job:
        variables = {"GITHUB_REPOSITORY": REPOSITORY, "GITHUB_REF_NAME": branch}
        return Job(self.runner, self.workspace, event=EVENT, variables=variables)

    @contextmanager
    def address(self, address: str) -> Iterator[None]:
        with fleet_address(self.name, self.directory, {ARCHITECTURE: address}):
            yield

    @property
    def certificate_secret(self) -> str:
        (stack,) = self.aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        return str(outputs["ClientCertificateSecret"])

    def changed_tool(self, change: str) -> str:
        """Return a PATH with the tool after a change of its modules."""
        directory = self.directory / f"tool-{len(list(self.directory.iterdir()))}"
        directory.mkdir()
        tool = directory / "cdk-buildkit"
        tool.write_text(f"#!{sys.executable}\n{change}\nfrom buildkit_ops.cli import main\nmain()\n")
        tool.chmod(0o755)
        return f"{directory}:{self.runner.environment['PATH']}"

    @contextmanager
    def expired_certificate(self) -> Iterator[None]:
        """Let clients be given a certificate of the fleet's own that was valid until yesterday."""
        secrets, secret = self.aws.client("secretsmanager"), self.certificate_secret
        before = secrets.get_secret_value(SecretId=secret)["SecretString"]
        pair = self.authority().issue(CLIENT, self.name, now=datetime.now(UTC) - 2 * DAY, life=DAY)
        document = json.loads(before) | {"tls.crt": pair.certificate, "tls.key": pair.key}
        secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(document))
        try:
            yield
        finally:
            secrets.put_secret_value(SecretId=secret, SecretString=before)

    @contextmanager
    def nothing_to_wake(self) -> Iterator[None]:
        """Let the fleet have no builder, and be at its maximum."""
        autoscaling, group = self.aws.client("autoscaling"), self.lab.deployment.group("main", ARCHITECTURE)
        name, sizes = group["AutoScalingGroupName"], ("MinSize", "MaxSize", "DesiredCapacity")
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **dict.fromkeys(sizes, 0))
        try:
            yield
        finally:
            autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **{each: group[each] for each in sizes})

    def authority(self) -> Authority:
        """Return the fleet's newest certificate authority, which signs what its clients show."""
        secrets = self.aws.client("secretsmanager")
        resources = self.aws.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        (secret,) = (
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == "AWS::SecretsManager::Secret"
            and each["LogicalResourceId"].startswith("CertificatesAuthority")
        )
        self.lab.emulator.enforce_iam(enforce=False)  # its policy lets nobody read it but the function that issues
        try:
            document = json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])
        finally:
            self.lab.emulator.enforce_iam()
        newest = document["authorities"][-1]
        return Authority(certificate=newest["certificate"], key=newest["key"])


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Site:
    return Site(lab, tmp_path_factory.mktemp("site"), busybox)


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder("main") as builder:
        yield builder


@pytest.fixture(scope="module")
def filled(site: Site, builder: Builder) -> str:
    """The cache of main, and what the job said that filled it."""
    with site.address(builder.address):
        job = site.job("main")
        started = job.start()
        assert started.returncode == 0, started.stdout
        built = job.step(f"{BUILD} $BUILDKIT_CACHE_ARGS .")
        assert built.returncode == 0, built.stdout
        assert "ran 41" in built.stdout
        assert job.complete().returncode == 0
    return started.stdout


@pytest.fixture(scope="module")
def connected(site: Site, filled: str) -> Iterator[tuple[Job, Builder]]:
    """A job of a new branch, connected to a builder that has built nothing."""
    assert filled
    with site.lab.builder("main") as fresh:
        job = site.job("feature/ü")
        with site.address(fresh.address):
            started = job.start()
        assert started.returncode == 0, started.stdout
        yield job, fresh


@pytest.fixture
def job(site: Site, connected: tuple[Job, Builder]) -> Iterator[Job]:
    """That job, while its builder is at the fleet's address."""
    job, builder = connected
    with site.address(builder.address):
        yield job


def test_a_job_says_what_it_waits_for_line_by_line(filled: str) -> None:
    lines = filled.splitlines()

    assert f"describing the stack {STACK}" in lines
    assert any(line.startswith(f"{ARCHITECTURE}: 1 builder in service") for line in lines)
    assert lines[-1] == f"connected: this job builds on {STACK}, and finds no cache yet"


def test_a_new_branch_builds_from_the_default_branchs_cache_on_a_fresh_builder(site: Site, job: Job) -> None:
    position = site.lab.emulator.log.position

    built = job.step(f"{BUILD} $BUILDKIT_CACHE_ARGS .")

    assert built.returncode == 0, built.stdout
    assert "ran 41" not in built.stdout  # the step that says so did not run
    keys = {request.access_key for request in site.lab.cache_requests(since=position)}
    assert keys == {site.lab.credentials("main")["AccessKeyId"]}
    assert DECOY_ACCESS_KEY not in keys


def test_an_unchanged_build_is_on_the_fleet_without_the_cache(job: Job) -> None:
    built = job.step(f"{BUILD} .")

    assert built.returncode == 0, built.stdout
    assert "importing cache manifest" not in built.stdout
    assert job.step("docker buildx inspect").stdout.splitlines()[0].split() == ["Name:", "fleet"]


def test_the_inputs_of_build_push_action_are_a_line_for_each_option(job: Job) -> None:
    # As docker/build-push-action does: an option for each line of an input.
    script = """
        options=()
        while IFS= read -r line; do options+=(--cache-from "$line"); done <<<"$BUILDKIT_CACHE_FROM"
        while IFS= read -r line; do options+=(--cache-to "$line"); done <<<"$BUILDKIT_CACHE_TO"
    """

    built = job.step(f'{script}\n{BUILD} "${{options[@]}}" .')

    assert built.returncode == 0, built.stdout
    assert "importing cache manifest from s3:" in built.stdout
    assert "exporting cache to" in built.stdout


def test_bake_reads_the_repositorys_own_file_with_the_exported_options_and_without(job: Job) -> None:
    with_cache = job.step("docker buildx bake --progress=plain $BUILDKIT_BAKE_ARGS")
    plain = job.step("docker buildx bake --progress=plain")

    assert with_cache.returncode == 0, with_cache.stdout
    assert "importing cache manifest from s3:" in with_cache.stdout
    assert plain.returncode == 0, plain.stdout
    assert "importing cache manifest" not in plain.stdout
    assert "reading docker-bake.hcl" in plain.stdout


def test_with_buildxs_own_variable_a_plain_bake_would_not_find_the_repositorys_file(job: Job, tmp_path: Path) -> None:
    # This is why no job is given one.
    override = tmp_path / "cache.json"
    override.write_text(json.dumps({"target": {"other": {}}}))

    baked = job.step(f"BUILDX_BAKE_FILE={override} docker buildx bake --print")

    assert "BUILDX_BAKE_FILE" not in job.exported
    assert baked.returncode
    assert "failed to find target default" in baked.stdout


def test_when_a_job_ends_neither_certificate_nor_builder_is_left(site: Site, job: Job) -> None:
    assert len(site.runner.certificates) == 3
    assert site.runner.builders == ["fleet"]

    completed = job.complete()

    assert (completed.returncode, completed.stdout) == (0, "")
    assert site.runner.certificates == []
    assert site.runner.builders == []


def test_a_job_that_was_never_connected_ends_well(site: Site) -> None:
    completed = site.job("main").complete()

    assert (completed.returncode, completed.stdout) == (0, "")


def test_a_job_that_was_killed_while_it_connected_leaves_nothing_either(site: Site) -> None:
    job = site.job("main")

    assert job.start(PATH=site.changed_tool(KILLED)).returncode == 1
    assert len(site.runner.certificates) == 3
    completed = job.complete()

    assert (completed.returncode, completed.stdout) == (0, "")
    assert site.runner.certificates == []


def refusal(site: Site, **image: str) -> str:
    """Start a job that cannot be connected, and return the error that GitHub shows."""
    job = site.job("main")

    started = job.start(**image)

    assert started.returncode == 1, started.stdout
    (error,) = (line for line in started.stdout.splitlines() if line.startswith("::"))
    assert (site.runner.certificates, site.runner.builders, job.exported) == ([], [], {})
    return error.removeprefix("::error::cdk-buildkit: ")


def test_a_stack_that_is_not_there_is_named_with_its_region(site: Site) -> None:
    assert refusal(site, CDK_BUILDKIT_STACK="buildkit-builders-nowhere").startswith(
        f"there is no stack buildkit-builders-nowhere in {REGION}; pass the name of a fleet's stack"
    )


def test_a_runner_of_another_region_is_told_where_it_looked(site: Site) -> None:
    assert refusal(site, CDK_BUILDKIT_REGION="us-west-2").startswith(f"there is no stack {STACK} in us-west-2")


def test_a_role_that_may_not_is_told_what_to_grant(site: Site) -> None:
    credentials = site.lab.credentials("pull-requests")
    environment = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["Token"],
    }

    error = refusal(site, **environment)

    assert error.startswith("these credentials may not describe the stack: ")
    assert error.endswith("; call grant_connect for their role where the fleet is defined")


def test_a_fleet_at_its_maximum_is_said_with_the_number(site: Site) -> None:
    with site.nothing_to_wake():
        error = refusal(site, CDK_BUILDKIT_TIMEOUT="0")

    assert error.startswith(f"no builder was there after 0 minutes: {ARCHITECTURE}: 0 builders in service, 0 coming;")
    assert "max_capacity is 0; wait longer with --timeout, or raise max_capacity" in error


def test_a_runner_outside_of_the_vpc_finds_no_address(site: Site) -> None:
    assert refusal(site).startswith(f"{site.name} has no address here: ")


def test_a_runner_without_a_route_is_told_to_look_at_it(site: Site) -> None:
    with site.address("10.64.254.254"):
        error = refusal(site, PATH=site.changed_tool(IMPATIENT))

    assert error.startswith(f"tcp://{site.name}:{ARCHITECTURE.port} was not reached: ")
    assert error.endswith(
        "; let this machine in with `clients` of the fleet, and look at its route and security groups"
    )


def test_an_expired_certificate_is_told_from_a_way_that_is_closed(site: Site, builder: Builder) -> None:
    with site.address(builder.address), site.expired_certificate():
        error = refusal(site)

    assert error.startswith(f"tcp://{site.name}:{ARCHITECTURE.port} refused the client certificate: ")
    assert "EXPIRED; connect again for a new one" in error


def test_no_name_of_a_branch_says_anything_to_the_runner_or_to_a_shell(site: Site, builder: Builder) -> None:
    job = site.job("a\nBUILDX_BUILDER=theirs\n::error::$(touch pwned) `touch pwned` ;*%")

    with site.address(builder.address):
        started = job.start()
        arguments = job.step("printf '%s\\n' $BUILDKIT_CACHE_ARGS $BUILDKIT_BAKE_ARGS")
        job.complete()

    assert started.returncode == 0, started.stdout
    assert "::" not in started.stdout
    assert job.exported["BUILDX_BUILDER"] == "fleet"
    assert set(job.exported) == {"BUILDX_BUILDER", "BUILDKIT_BAKE_ARGS"} | {
        f"BUILDKIT_CACHE_{each}" for each in ("ARGS", "FROM", "TO")
    }
    assert len(arguments.stdout.splitlines()) == 8
    assert not list(site.directory.rglob("pwned"))
