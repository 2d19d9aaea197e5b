"""The tool `cdk-buildkit` against a real fleet: connected, built with its flags, disconnected, with real buildx."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from buildkit_ops.failures import BUILDER_UNTRUSTED, CLIENT_UNTRUSTED, NOT_REACHED, Failure, ToolError
from buildkit_ops.reachability import shake_hands
from local.builder import Builder
from local.client import DECOY_ACCESS_KEY, write_certificate
from local.emulator.aws import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY, REGION
from local.fleet_address import fleet_address
from local.lab import ARCHITECTURE, Lab

STACK = "buildkit-builders-main"
DECOYS = {
    "AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": "decoy-secret",
    "AWS_SESSION_TOKEN": "decoy-token",
    "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2",
}


OWN = ("--profile=client", f"--region={REGION}")


class Machine:
    """A client's machine: decoys in its environment, its own profile in a file, and fleets at their names."""

    def __init__(self, lab: Lab, directory: Path, base_image: list[str]) -> None:
        self.lab = lab
        self.directory = directory
        self._base_image = base_image
        profile = directory / "config"
        profile.write_text(
            f"[profile client]\nregion = {REGION}\naws_access_key_id = {OPERATOR_ACCESS_KEY}\n"
            f"aws_secret_access_key = {OPERATOR_SECRET_KEY}\n"
        )
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **DECOYS,
            "AWS_CONFIG_FILE": str(profile),
            "AWS_ENDPOINT_URL": lab.emulator.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "BUILDX_CONFIG": str(directory / "buildx"),
            "XDG_STATE_HOME": str(directory / "state"),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def tool(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        done = self.run(str(Path(sys.executable).parent / "cdk-buildkit"), *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def connect(self) -> Any:  # noqa: ANN401 - JSON
        return self.tool("connect", STACK, f"--architecture={ARCHITECTURE}", *OWN)

    def flags(self, branch: str) -> Any:  # noqa: ANN401 - JSON
        wish = ("--project=team/app", f"--branch={branch}", "--default-branch=main")
        return self.tool("flags", STACK, *wish, f"--architecture={ARCHITECTURE}", *OWN)

    def build(self, arguments: list[str]) -> str:
        """Build, and return what buildx said."""
        context = self.directory / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text("FROM busybox\nRUN echo client >/built\nRUN echo again >/again\n")
        done = self.run(
            *("buildx", "build", "--builder=fleet", "--progress=plain", "--output=type=image,name=example"),
            *(f"--platform={ARCHITECTURE.platform}", *self._base_image, *arguments, str(context)),
        )
        assert done.returncode == 0, done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory, busybox_arguments: list[str]) -> Machine:
    return Machine(lab, tmp_path_factory.mktemp("machine"), busybox_arguments)


@pytest.fixture(scope="module")
def builder(lab: Lab, machine: Machine) -> Iterator[Builder]:
    with lab.builder("main") as builder, ExitStack() as undo:
        undo.enter_context(
            fleet_address(lab.deployment.domain_name("main"), machine.directory, {ARCHITECTURE: builder.address})
        )
        yield builder


@pytest.fixture(scope="module")
def connection(machine: Machine, builder: Builder) -> Any:  # noqa: ANN401 - JSON
    assert builder.address
    return machine.connect()


def test_connect_names_the_daemon_that_answered(connection: Any, lab: Lab) -> None:  # noqa: ANN401
    node = connection["nodes"][ARCHITECTURE]

    assert node["endpoint"] == f"tcp://{lab.deployment.domain_name('main')}:{ARCHITECTURE.port}"
    assert node["buildkit"] == "v0.31.2"


def test_the_certificate_is_for_its_owners_eyes_alone(connection: Any) -> None:  # noqa: ANN401
    directory = Path(connection["certificate_directory"])

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()} == dict.fromkeys(
        ("ca.crt", "tls.crt", "tls.key", "connection.json"), 0o600
    )


def test_no_credential_is_written_into_the_builders_definition(connection: Any, machine: Machine) -> None:  # noqa: ANN401
    assert connection["builder"] == "fleet"
    written = [each.read_text(errors="replace") for each in machine.directory.rglob("*") if each.is_file()]
    definitions = [text for text in written if '"Driver":"remote"' in text]

    assert definitions
    secrets = (*DECOYS.values(), OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY)
    assert not [secret for secret in secrets for text in definitions if secret in text]


def test_a_branch_without_a_cache_imports_the_default_branchs_on_a_fresh_builder(
    connection: Any,  # noqa: ANN401
    machine: Machine,
    lab: Lab,
) -> None:
    assert connection["builder"] == "fleet"
    position = lab.emulator.log.position
    cold = machine.flags("main")
    machine.build(cold["arguments"])

    with (
        lab.builder("main") as fresh,
        fleet_address(lab.deployment.domain_name("main"), machine.directory, {ARCHITECTURE: fresh.address}),
    ):
        machine.connect()
        first = machine.flags("feature/ü")
        said = machine.build(first["arguments"])
        second = machine.flags("feature/ü")

    assert cold["imports"] is None
    assert first["imports"] == {"scope": "main", "name": "team%2Fapp/main", "architectures": [ARCHITECTURE]}
    assert said.count(" CACHED\n") == 2
    assert second["imports"]["name"] == "team%2Fapp/feature%2F%C3%BC"
    keys = {request.access_key for request in lab.cache_requests(since=position)}
    assert lab.credentials("main")["AccessKeyId"] in keys
    assert DECOY_ACCESS_KEY not in keys


@pytest.mark.parametrize(
    ("files", "failure"),
    [
        ({"tls.crt": "pull-requests", "tls.key": "pull-requests"}, CLIENT_UNTRUSTED),
        ({"ca.crt": "pull-requests"}, BUILDER_UNTRUSTED),
    ],
    ids=["another fleet's client", "another fleet's builder"],
)
def test_a_certificate_of_another_fleet_is_told_from_a_way_that_is_closed(
    builder: Builder, lab: Lab, tmp_path: Path, files: dict[str, str], failure: Failure
) -> None:
    others = {name: lab.deployment.client_certificate(fleet)[name] for name, fleet in files.items()}
    write_certificate(tmp_path, lab.deployment.client_certificate("main") | others)
    name = lab.deployment.domain_name("main")

    with pytest.raises(ToolError) as raised:
        shake_hands(f"tcp://{builder.endpoint}", name, tmp_path)
    with pytest.raises(ToolError) as closed:
        shake_hands(f"tcp://{builder.address}:9", name, tmp_path)

    assert raised.value.failure is failure
    assert closed.value.failure is NOT_REACHED


def test_disconnect_leaves_neither_a_certificate_nor_a_builder(connection: Any, machine: Machine) -> None:  # noqa: ANN401
    assert machine.tool("disconnect") == {"disconnected": connection["builder"]}

    assert list((machine.directory / "state" / "cdk-buildkit").iterdir()) == []
    assert machine.run("buildx", "inspect", "fleet").returncode
    assert machine.tool("disconnect") == {"disconnected": None}
