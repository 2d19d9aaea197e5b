"""What a client's whole way does when a part of it fails: real builders behind a balancer, real buildx, the tool."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from buildkit_ops.failures import (
    CLIENT_UNTRUSTED,
    CREDENTIALS_REFUSED,
    NOT_ALLOWED,
    ToolError,
)
from buildkit_ops.lost_builder import lost_builder
from buildkit_ops.reachability import shake_hands
from cdk_buildkit.handlers.certificates.authority import CLIENT
from cdk_buildkit.handlers.certificates.secret_store import Credential, SecretStore
from local.base_image.debian import fetch_packages
from local.builder import BUILDKIT_PORT, Builder
from local.client import write_certificate
from local.emulator.aws import Aws
from local.fleet_address import fleet_address
from local.go_programs import CACHE
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET, Fleet
from local.vpc import GATEWAY
from tests.client_machine import OWN, STACK, TOOL, Machine

QUICK = {"SETTLING_SECONDS": "2", "HEARTBEAT_SECONDS": "2"}
STARTED = "the step is running"
# What they say is said only when they run; a cached one that is fetched meanwhile does not always end in CACHED.
STEPS = ("RUN echo ran $((40 + 1)) | tee /one", "RUN echo ran $((40 + 2)) | tee /two")
RAN = ("ran 41", "ran 42")


class Scene:
    """A fleet that was at zero, and a machine that is connected to it."""

    def __init__(self, lab: Lab, machine: Machine, fleet: Fleet) -> None:
        self.lab = lab
        self.machine = machine
        self.fleet = fleet
        self.aws = Aws(lab.emulator.endpoint_url)
        self.builder: Builder | None = None

    def connect_to_a_fleet_at_zero(self) -> tuple[int, str]:
        """Connect while there is no builder; launch one once the fleet is woken. Return exit code and words."""
        group = {"AutoScalingGroupName": self.lab.deployment.group_name(FLEET, ARCHITECTURE)}
        autoscaling = self.aws.client("autoscaling")
        autoscaling.set_desired_capacity(**group, DesiredCapacity=0)
        with self.machine.start(TOOL, "connect", STACK, f"--architecture={ARCHITECTURE}", *OWN) as connecting:
            while not self.lab.deployment.group(FLEET, ARCHITECTURE)["DesiredCapacity"]:
                assert connecting.poll() is None, read(connecting)
                time.sleep(0.1)
            self.launch()
            said = read(connecting)
        return connecting.returncode, said

    def launch(self, **environment: str) -> Builder:
        """Let the builder be the only one."""
        if self.builder:
            self.fleet.end(self.builder)
        self.builder = self.fleet.launch(environment)
        return self.builder

    def kill_buildkitd(self) -> None:
        """Kill the daemon at once; its service starts another."""
        assert self.builder
        said = self.builder.run("sh", "-c", "kill -KILL $(pidof buildkitd)")
        assert said.returncode == 0, said.stdout

    def flags(self, branch: str) -> list[str]:
        """Return the cache options of a branch."""
        arguments: list[str] = self.machine.flags(branch)["arguments"]
        return arguments

    def authorities(self) -> SecretStore:
        """Return the store that nobody but the function may read."""
        return SecretStore(self.aws.client("secretsmanager"), self.secret("Authority"))

    def secret(self, name: str) -> str:
        """Return the ARN of a secret of the fleet's certificates."""
        described = self.aws.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        (arn,) = (
            str(each["PhysicalResourceId"])
            for each in described
            if each["ResourceType"] == "AWS::SecretsManager::Secret"
            and each["LogicalResourceId"].startswith(f"Certificates{name}")
        )
        return arn

    def client_pair(self, begins: timedelta, life: timedelta) -> Credential:
        """Return a client certificate of the fleet's own authority, with another time of validity."""
        self.lab.emulator.enforce_iam(enforce=False)
        try:
            trust = self.authorities().read_trust()
        finally:
            self.lab.emulator.enforce_iam()
        assert trust
        name = self.lab.deployment.domain_name(FLEET)
        pair = trust.authorities[-1].issue(CLIENT, name, now=datetime.now(UTC) + begins, life=life)
        return Credential(bundle=trust.bundle, pair=pair)

    def renew_certificates(self) -> list[str]:
        """Do what is done daily."""
        function = self.lab.deployment.issuer_function(FLEET)
        answer = self.aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"action": "renew"}))
        done: list[str] = json.load(answer["Payload"])["done"]
        return done

    @contextmanager
    def cut(
        self, source: str, destination: str, port: int, how: Sequence[str] = ("REJECT", "--reject-with", "tcp-reset")
    ) -> Iterator[None]:
        """Let no packet of one way through; by default each is answered with a reset."""
        rule = (
            *("--protocol", "tcp", "--source", source, "--destination", destination, "--dport", str(port)),
            *("--jump", *how),
        )
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run(["iptables", "--insert", chain, *rule], check=True)
        try:
            yield
        finally:
            for chain in ("INPUT", "OUTPUT"):
                subprocess.run(["iptables", "--delete", chain, *rule], check=True)

    @contextmanager
    def without_s3(self) -> Iterator[None]:
        """Let the builder reach neither S3 nor any other service."""
        assert self.builder
        with self.cut(self.builder.address, GATEWAY, self.lab.emulator.port):
            yield


def read(process: subprocess.Popen[str]) -> str:
    """Return what is left of a command's output."""
    assert process.stdout
    return process.stdout.read()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return a command's output up to a line with these words, which a step has printed."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if words in line and "RUN" not in line:
            return said
    raise AssertionError(f"it ended with code {process.wait()}:\n{said}")


def long_step(seconds: int) -> str:
    return f"RUN echo {STARTED} && sleep {seconds}"


@pytest.fixture(scope="module")
def scene(lab: Lab, tmp_path_factory: pytest.TempPathFactory, busybox_arguments: list[str]) -> Iterator[Scene]:
    machine = Machine(lab, tmp_path_factory.mktemp("machine"), busybox_arguments)
    name = lab.deployment.domain_name(FLEET)
    with (
        Fleet(lab, BUILDKIT_PORT, environment=QUICK) as fleet,
        fleet_address(name, machine.directory, {ARCHITECTURE: GATEWAY}),
    ):
        yield Scene(lab, machine, fleet)


@pytest.fixture(scope="module")
def connected(scene: Scene) -> str:
    """Connect to the fleet at zero, and return what was said."""
    code, said = scene.connect_to_a_fleet_at_zero()
    assert code == 0, said
    return said


def test_connect_wakes_a_fleet_at_zero_waits_for_it_and_a_build_runs(scene: Scene, connected: str) -> None:
    lines = connected.splitlines()

    assert f"{ARCHITECTURE}: 0 builders in service, 1 coming" in lines
    assert lines[-1] == "connected: docker buildx build --builder fleet ..."
    assert "RUN echo built" in scene.machine.build([])


def test_a_build_whose_builder_dies_is_run_again_on_another_from_the_cache(scene: Scene, connected: str) -> None:
    assert connected
    exported = scene.machine.run(*scene.machine.build_command(*STEPS, arguments=scene.flags("retry")))
    assert exported.returncode == 0, exported.stderr
    command = scene.machine.build_command(*STEPS, long_step(6), arguments=scene.flags("retry"))

    with scene.machine.start(TOOL, "retry", "--", *command) as build:
        read_until(build, STARTED)
        scene.launch()
        first, once_more, second = read(build).partition("cdk-buildkit: running once more: ")

    assert build.returncode == 0, second
    lost = next(line for line in first.splitlines() if line.startswith("cdk-buildkit: the builder was lost (ERROR: "))
    assert lost.endswith("; the command is run once more when there is one")
    assert once_more
    assert all(each in exported.stderr for each in RAN)
    assert not [each for each in RAN if each in second]
    assert f"{STARTED}\n" in second


def test_a_second_loss_is_the_end_whether_the_daemon_was_killed_or_the_flow_reset(scene: Scene, connected: str) -> None:
    assert connected
    with scene.machine.start(TOOL, "retry", "--", *scene.machine.build_command(long_step(60), arguments=[])) as build:
        read_until(build, STARTED)
        scene.kill_buildkitd()
        first = read_until(build, STARTED)
        with scene.cut(GATEWAY, GATEWAY, BUILDKIT_PORT):
            second = read(build)

    assert build.returncode == 1
    assert first.count("cdk-buildkit: the builder was lost (ERROR: ") == 1
    assert "error reading from server: EOF); the command is run once more" in first
    assert second.splitlines()[-1].startswith("cdk-buildkit: the builder was lost a second time (ERROR: ")
    assert second.endswith("; not run again\n")


def test_a_builder_that_vanishes_without_a_word_is_lost_when_the_clients_kernel_gives_up(
    scene: Scene, connected: str
) -> None:
    assert connected
    tries = Path("/proc/sys/net/ipv4/tcp_retries2")  # of the sandbox's network
    before = tries.read_text()
    tries.write_text("2")
    try:
        with scene.machine.start(*scene.machine.build_command(long_step(60), arguments=[])) as build:
            read_until(build, STARTED)
            with scene.cut(GATEWAY, GATEWAY, BUILDKIT_PORT, how=("DROP",)):
                said = read(build)
    finally:
        tries.write_text(before)

    assert build.returncode == 1
    assert str(lost_builder(said)).endswith("read: connection timed out")


def test_a_failing_step_and_a_cancelled_build_are_not_run_again(scene: Scene, connected: str) -> None:
    assert connected
    failed = scene.machine.run(TOOL, "retry", *scene.machine.build_command("RUN exit 3", arguments=[]))
    with scene.machine.start(TOOL, "retry", *scene.machine.build_command(long_step(60), arguments=[])) as cancelled:
        read_until(cancelled, STARTED)
        cancelled.terminate()
        said = read(cancelled)

    assert failed.returncode == 1
    assert "did not complete successfully: exit code: 3" in failed.stderr
    assert cancelled.returncode == 130
    assert "cdk-buildkit:" not in failed.stderr + said


def test_a_certificate_renewed_in_the_middle_of_a_build_harms_neither_it_nor_the_next(
    scene: Scene, connected: str
) -> None:
    assert connected
    machine, deployment = scene.machine, scene.lab.deployment
    expiring = scene.client_pair(timedelta(0), timedelta(days=5))
    scene.authorities().write_credential(scene.secret("Client"), expiring)
    former = deployment.client_certificate(FLEET)
    machine.connect()
    directory = machine.directory / "former"
    directory.mkdir()
    write_certificate(directory, former)

    with machine.start(*machine.build_command(long_step(8), arguments=[])) as build:
        read_until(build, STARTED)
        renewed = scene.renew_certificates()
        said = read(build)
    issued = deployment.client_certificate(FLEET)
    machine.connect()

    assert build.returncode == 0, said
    assert [words for words in renewed if words.startswith("issued a client certificate")] == renewed != []
    assert issued["tls.crt"] != former["tls.crt"]
    assert (machine.directory / "state" / "cdk-buildkit" / "fleet" / "tls.crt").read_text() == issued["tls.crt"]
    assert scene.builder
    shake_hands(f"tcp://{scene.builder.endpoint}", deployment.domain_name(FLEET), directory)


def test_an_export_without_s3_costs_the_build_nothing_but_the_export(scene: Scene, connected: str) -> None:
    assert connected
    command = scene.machine.build_command("RUN echo export", arguments=scene.flags("export"))

    with scene.without_s3():
        done = scene.machine.run(TOOL, "retry", *command)

    assert done.returncode == 0, done.stderr
    assert " > exporting cache to Amazon S3:" in done.stderr  # with what was wrong with it
    assert "cdk-buildkit:" not in done.stderr
    assert scene.machine.flags("export")["imports"] is None


def test_an_import_without_s3_makes_the_build_slower_and_no_more(scene: Scene, connected: str) -> None:
    assert connected
    steps = ("RUN echo ran $((40 + 3)) | tee /import",)
    exported = scene.machine.run(*scene.machine.build_command(*steps, arguments=scene.flags("import")))
    arguments = scene.flags("import")
    scene.launch()

    with scene.without_s3():
        done = scene.machine.run(TOOL, "retry", *scene.machine.build_command(*steps, arguments=arguments))

    assert exported.returncode == done.returncode == 0, done.stderr
    assert "ran 43" in done.stderr
    assert "cdk-buildkit:" not in done.stderr


def test_a_layer_that_is_gone_from_the_cache_fails_the_build_which_is_not_run_again(
    scene: Scene, connected: str
) -> None:
    assert connected
    bucket = scene.lab.deployment.cache_bucket(ARCHITECTURE)
    steps = ("RUN echo layer >/layer",)
    before = set(scene.lab.deployment.objects(ARCHITECTURE, "main/blobs/"))
    exported = scene.machine.run(*scene.machine.build_command(*steps, arguments=scene.flags("layer")))
    layers = set(scene.lab.deployment.objects(ARCHITECTURE, "main/blobs/")) - before
    for key in layers:
        scene.aws.client("s3").delete_object(Bucket=bucket, Key=key)
    arguments = scene.flags("layer")
    scene.launch()

    needs_it = scene.machine.build_command(*steps, "RUN cat /layer", arguments=arguments)
    done = scene.machine.run(TOOL, "retry", "--", *needs_it)
    exports = [f"--cache-to={each}" for each in scene.machine.flags("layer")["cache_to"]]
    without = scene.machine.run(*scene.machine.build_command(*steps, arguments=exports))

    assert exported.returncode == 0
    assert layers
    assert done.returncode == 1
    assert "NoSuchKey" in done.stderr.splitlines()[-1]
    assert "cdk-buildkit:" not in done.stderr
    assert exports
    assert without.returncode == 0, without.stderr


def test_a_secret_that_may_not_be_read_is_named_and_nothing_is_changed(scene: Scene, connected: str) -> None:
    assert connected
    secrets, secret = scene.aws.client("secretsmanager"), scene.secret("Client")
    nobody = {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    policy = secrets.get_resource_policy(SecretId=secret).get("ResourcePolicy")
    secrets.put_resource_policy(
        SecretId=secret, ResourcePolicy=json.dumps({"Version": "2012-10-17", "Statement": [nobody]})
    )
    try:
        done = scene.machine.run(TOOL, "connect", STACK, *OWN, "--json")
    finally:
        secrets.delete_resource_policy(SecretId=secret)
        if policy:
            secrets.put_resource_policy(SecretId=secret, ResourcePolicy=policy)

    assert done.returncode == NOT_ALLOWED.exit_code
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "not-allowed"
    assert error["message"].startswith("these credentials may not read the client certificate: ")
    assert "call grant_connect for their role" in error["message"]
    assert scene.machine.build([])


@pytest.mark.parametrize("skew", ["-1h", "+1h"])
def test_a_clock_that_is_off_is_what_aws_refuses(scene: Scene, connected: str, faketime: Path, skew: str) -> None:
    assert connected
    done = scene.machine.run(TOOL, "connect", STACK, *OWN, "--json", LD_PRELOAD=str(faketime), FAKETIME=skew)

    assert done.returncode == CREDENTIALS_REFUSED.exit_code
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "credentials-refused"
    assert "set the clock right" in error["message"]


@pytest.mark.parametrize(
    ("skew", "words"), [("+200d", "certificate has expired"), ("-200d", "certificate is not yet valid")]
)
def test_a_client_whose_clock_is_off_does_not_trust_the_builder(
    scene: Scene, connected: str, faketime: Path, skew: str, words: str
) -> None:
    assert connected
    assert scene.builder
    place = scene.machine.directory / "state" / "cdk-buildkit" / "fleet"
    name = scene.lab.deployment.domain_name(FLEET)
    shake = "from pathlib import Path\nfrom buildkit_ops.reachability import shake_hands\n"
    shake += f"shake_hands('tcp://{scene.builder.endpoint}', '{name}', Path('{place}'))"

    done = scene.machine.run(sys.executable, "-c", shake, LD_PRELOAD=str(faketime), FAKETIME=skew)

    assert f"showed a certificate that does not hold: {words}; set the clock right" in done.stderr


@pytest.mark.parametrize("begins", [timedelta(days=-10), timedelta(days=1)], ids=["expired", "not yet valid"])
def test_a_builder_to_which_a_client_is_of_another_time_refuses_it(
    scene: Scene, connected: str, tmp_path: Path, begins: timedelta
) -> None:
    assert connected
    assert scene.builder
    credential = scene.client_pair(begins, timedelta(days=5))
    write_certificate(
        tmp_path, {"ca.crt": credential.bundle, "tls.crt": credential.pair.certificate, "tls.key": credential.pair.key}
    )

    with pytest.raises(ToolError, match="refused the client certificate: ") as raised:
        shake_hands(f"tcp://{scene.builder.endpoint}", scene.lab.deployment.domain_name(FLEET), tmp_path)

    assert raised.value.failure is CLIENT_UNTRUSTED


def test_a_drain_past_its_limit_and_a_fleet_without_builders_are_losses(scene: Scene, connected: str) -> None:
    assert connected
    builder = scene.launch(LONGEST_BUILD_SECONDS="3")
    with scene.machine.start(*scene.machine.build_command(long_step(600), arguments=[])) as build:
        read_until(build, STARTED)
        scene.fleet.terminate(builder)
        cut_off = read(build)
    scene.builder = None

    nobody = scene.machine.run(*scene.machine.build_command("RUN echo nobody", arguments=[]))

    assert (build.returncode, nobody.returncode) == (1, 1)
    assert "graceful_stop" in str(lost_builder(cut_off))
    assert lost_builder(nobody.stderr) == "ERROR: failed to build: context deadline exceeded"


@pytest.fixture(scope="session")
def faketime() -> Path:
    """Find the library that shows a process another time."""
    path = CACHE / "faketime" / ARCHITECTURE / "libfaketime.so.1"
    if not path.exists():
        (package,) = fetch_packages(["libfaketime"], ARCHITECTURE, dependencies=False)
        with tarfile.open(fileobj=io.BytesIO(package)) as tar:
            (member,) = (each for each in tar if each.name.endswith("/libfaketime.so.1"))
            library = tar.extractfile(member)
            assert library
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(library.read())
    return path
