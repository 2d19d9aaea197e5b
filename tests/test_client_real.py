"""The tool `cdk-buildkit` against a real fleet: connected, built with its flags, disconnected, with real buildx."""

import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from buildkit_ops.failures import BUILDER_UNTRUSTED, CLIENT_UNTRUSTED, NOT_REACHED, Failure, ToolError
from buildkit_ops.reachability import shake_hands
from local.builder import Builder
from local.client import DECOY_ACCESS_KEY, write_certificate
from local.emulator.aws import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY
from local.fleet_address import fleet_address
from local.lab import ARCHITECTURE, Lab
from tests.client_machine import BUILT, DECOYS, Machine


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
    exported = machine.build(cold["arguments"])

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
    assert all(each in exported for each in BUILT)
    assert not [each for each in BUILT if each in said]
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
