"""Connecting: in which order, with which calls of buildx, and that nothing stays of what fails."""

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildkit_ops import connecting
from buildkit_ops.architecture import Architecture
from buildkit_ops.buildx import Buildx
from buildkit_ops.connecting import Wish, connect
from buildkit_ops.connection import Connections
from buildkit_ops.failures import (
    ARCHITECTURE,
    BUILDER_EXISTS,
    BUILDER_NAME,
    BUILDX_FAILED,
    NO_BUILDER,
    NO_BUILDX,
    NO_FLEET,
    NOT_CONNECTED,
    SEVERAL_CONNECTED,
    UNWRITABLE_STATE,
    Failure,
    ToolError,
)
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.waiting import wait_for_builders

if TYPE_CHECKING:
    from buildkit_ops.account import Account

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
OUTPUTS = {
    "WriteScope": "main",
    "DomainName": "main.internal",
    "ClientCertificateSecret": "secret",
    "WakeFunction": "waker",
    "CacheNamesFunction": "names",
    "Arm64Endpoint": "tcp://main.internal:1235",
    "X8664Endpoint": "tcp://main.internal:1234",
}
POD_OUTPUTS = {
    **{name: value for name, value in OUTPUTS.items() if name not in ("DomainName", "Arm64Endpoint")},
    "ServerName": "main.internal",
    "Arm64Service": "tcp://arm64.builders.svc:1234",
    "X8664Service": "tcp://x86-64.builders.svc:1234",
}
CERTIFICATE = {"ca.crt": "authority", "tls.crt": "certificate", "tls.key": "key"}

BUILDX = r"""#!/bin/sh
# Stands in for buildx: writes down how it is called, and fails where a file beside it says so.
here=$(dirname "$0")
echo "$*" >>"$here/calls"
if [ -e "$here/fails-$1" ]; then cat "$here/fails-$1" >&2; exit 1; fi
[ "$1 $2" = "inspect --bootstrap" ] || exit 0
for each in x86-64 arm64; do
  printf 'Name:      %s-%s\nEndpoint:  tcp://main\nStatus:    running\n' "$3" "$each"
  [ -e "$here/silent-$each" ] || printf 'BuildKit version: v0.31.2\n'
  printf '\n'
done
"""


class Fleet:
    """Stands in for the account: a fleet whose builders come after some calls."""

    def __init__(self, outputs: Mapping[str, str] = OUTPUTS, *, calls_until_there: int = 1) -> None:
        self.region, self.profile = "eu-west-1", "team"
        self.outputs = outputs
        self.calls_until_there = calls_until_there
        self.woken: list[Any] = []

    def stack_outputs(self, _stack: str) -> Mapping[str, str]:
        return self.outputs

    def client_certificate(self, _secret: str) -> Mapping[str, str]:
        return CERTIFICATE

    def invoke(self, _function: str, event: Mapping[str, Any], **_: str) -> Any:  # noqa: ANN401 - JSON
        self.woken.append(event["waiting_jobs"])
        there = len(self.woken) >= self.calls_until_there
        return {each: {"in_service": int(there), "message": f"call {len(self.woken)}"} for each in self.woken[-1]}


class Desk:
    """A machine with a stand-in for buildx, and connections of its own."""

    def __init__(self, directory: Path) -> None:
        self.programs = directory / "bin"
        self.programs.mkdir()
        program = self.programs / "buildx"
        program.write_text(BUILDX)
        program.chmod(0o755)
        self.connections = Connections(directory / "state")
        self.told: list[str] = []

    def connect(self, fleet: Fleet | None = None, **wish: Any) -> connecting.Connection:  # noqa: ANN401
        return connect(
            cast("Account", fleet or Fleet()),
            "builders",
            Wish(**{"builder": "fleet", **wish}),
            buildx=Buildx([str(self.programs / "buildx")]),
            connections=self.connections,
            tell=self.told.append,
        )

    @property
    def calls(self) -> list[str]:
        calls = self.programs / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def let(self, name: str, words: str = "") -> None:
        (self.programs / name).write_text(words)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.setattr(connecting, "wait_until_let_in", lambda *_, **__: None)
    monkeypatch.setattr("buildkit_ops.waiting.time.sleep", lambda _: None)
    monkeypatch.setenv("PATH", f"{made.programs}:/bin:/usr/bin")
    return made


@pytest.fixture
def refused() -> Callable[..., ToolError]:
    """Do what is refused, and return the refusal."""

    def refused(failure: Failure, do: Callable[..., object], *arguments: Any, **named: Any) -> ToolError:  # noqa: ANN401
        with pytest.raises(ToolError) as raised:
            do(*arguments, **named)
        assert raised.value.failure is failure
        return raised.value

    return refused


def test_a_builder_gets_a_node_for_every_architecture_with_certificate_and_name(desk: Desk) -> None:
    connection = desk.connect()

    first, second = (call for call in desk.calls if call.startswith("create"))
    directory = connection.certificate_directory
    driver = f"cacert={directory}/ca.crt,cert={directory}/tls.crt,key={directory}/tls.key,servername=main.internal"
    assert first == (
        f"create --name fleet --node fleet-arm64 --driver remote --driver-opt {driver} "
        "--platform linux/arm64 tcp://main.internal:1235"
    )
    assert second.startswith("create --name fleet --node fleet-x86-64 --append ")
    assert connection.nodes[X86_64] == {"endpoint": "tcp://main.internal:1234", "buildkit": "v0.31.2"}


def test_only_the_architectures_asked_for_are_woken_and_connected(desk: Desk) -> None:
    fleet = Fleet()

    connection = desk.connect(fleet, architectures=(X86_64,), waiting_jobs=4)

    assert fleet.woken == [{"x86_64": 4}]
    assert list(connection.nodes) == [X86_64]


def test_zero_waiting_jobs_wake_nobody(desk: Desk) -> None:
    fleet = Fleet()

    desk.connect(fleet, waiting_jobs=0)

    assert fleet.woken == []


def test_it_becomes_the_default_only_when_asked_for(desk: Desk) -> None:
    assert not desk.connect().used
    assert "use fleet" not in desk.calls

    assert desk.connect(use=True).used
    assert "use fleet" in desk.calls


def test_a_former_connection_of_the_name_is_replaced(desk: Desk) -> None:
    desk.connect()
    desk.connect()

    assert desk.calls.count("rm --keep-daemon fleet") == 1
    assert desk.connections.names() == ["fleet"]


def test_waiting_is_told_in_the_fleets_words(desk: Desk) -> None:
    desk.connect(Fleet(calls_until_there=3), architectures=(ARM64,))

    assert [words for words in desk.told if words.startswith("arm64: ")] == [
        f"arm64: call {each}" for each in (1, 2, 3)
    ]


def test_a_fleet_that_does_not_come_is_given_up_with_its_words_and_nothing_stays(
    desk: Desk, refused: Callable[..., ToolError]
) -> None:
    error = refused(NO_BUILDER, desk.connect, Fleet(calls_until_there=99), architectures=(ARM64,), minutes=0)

    assert str(error).startswith("no builder was there after 0 minutes: arm64: call 1; wait longer")
    assert (desk.connections.names(), desk.calls) == ([], [])


def test_waiting_ends_at_its_time_and_asks_once_more_then() -> None:
    clock = [0.0]
    asked = []

    def wake() -> Any:  # noqa: ANN401 - JSON
        asked.append(clock[0])
        return {"arm64": {"in_service": 0, "message": "0 builders in service, 1 coming"}}

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    with pytest.raises(ToolError):
        wait_for_builders(wake, minutes=0.5, tell=quiet, sleep=sleep, now=lambda: clock[0])

    assert asked == [0, 5, 10, 15, 20, 25, 30]


@pytest.mark.parametrize(
    ("program", "failure"), [("create", BUILDX_FAILED), ("inspect", BUILDX_FAILED), ("use", BUILDX_FAILED)]
)
def test_when_buildx_fails_its_words_are_said_and_no_certificate_stays(
    desk: Desk, refused: Callable[..., ToolError], program: str, failure: Failure
) -> None:
    desk.let(f"fails-{program}", "ERROR: words of buildx\n")

    error = refused(failure, desk.connect, use=True)

    assert "ERROR: words of buildx; see what it says" in str(error)
    assert desk.connections.names() == []


def test_a_node_that_does_not_answer_is_named_and_nothing_stays(desk: Desk, refused: Callable[..., ToolError]) -> None:
    desk.let("silent-arm64")

    refused(BUILDX_FAILED, desk.connect)

    assert desk.calls[-1] == "rm --keep-daemon fleet"
    assert desk.connections.names() == []


def test_a_builder_that_somebody_else_made_is_left_alone(desk: Desk, refused: Callable[..., ToolError]) -> None:
    desk.let("fails-create", 'ERROR: existing instance for "fleet" but no append mode, specify the node name\n')

    refused(BUILDER_EXISTS, desk.connect)

    assert not [call for call in desk.calls if call.startswith("rm")]


def test_a_machine_without_buildx_is_told_so(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., ToolError]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    error = refused(NO_BUILDX, Buildx.find)

    assert "`docker buildx version` failed: No such file or directory" in str(error)


def test_dockers_plugin_comes_before_buildx_by_itself(desk: Desk) -> None:
    docker = desk.programs / "docker"
    docker.write_text('#!/bin/sh\n[ "$1 $2" = "buildx version" ]\n')
    docker.chmod(0o755)

    assert Buildx.find()._command == ("docker", "buildx")  # noqa: SLF001 - how it is called is the point


@pytest.mark.parametrize("name", ["", "1fleet", "a b", "../x", "-x", "a" * 65])
def test_what_is_no_name_for_a_builder_is_refused(desk: Desk, refused: Callable[..., ToolError], name: str) -> None:
    assert f"got {name!r}" in str(refused(BUILDER_NAME, desk.connect, builder=name))


def test_a_directory_that_cannot_be_written_is_named(
    desk: Desk, tmp_path: Path, refused: Callable[..., ToolError]
) -> None:
    (tmp_path / "state").write_text("no directory")

    assert str(refused(UNWRITABLE_STATE, desk.connect)).startswith(
        f"{tmp_path / 'state' / 'fleet'} could not be written"
    )


def test_the_certificate_is_private_whatever_the_umask(desk: Desk) -> None:
    before = os.umask(0)
    try:
        directory = Path(desk.connect().certificate_directory)
    finally:
        os.umask(before)

    assert stat.S_IMODE(directory.stat().st_mode) == stat.S_IMODE(desk.connections.root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()} == {0o600}
    assert json.loads((directory / "connection.json").read_text()) == {
        "stack": "builders",
        "region": "eu-west-1",
        "profile": "team",
        "architectures": ["arm64", "x86_64"],
        "in_cluster": False,
        "through_ssm": False,
    }


def test_state_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Connections().root == tmp_path / "cdk-buildkit"

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Connections().root == tmp_path / ".local" / "state" / "cdk-buildkit"


def test_disconnecting_takes_the_only_one_and_does_not_guess(desk: Desk, refused: Callable[..., ToolError]) -> None:
    assert desk.connections.choose(None) is None
    assert desk.connections.choose("fleet") is None
    desk.connect()
    assert desk.connections.choose(None) == "fleet"
    desk.connect(builder="other")

    assert "fleet, other are connected here" in str(refused(SEVERAL_CONNECTED, desk.connections.choose, None))
    assert "no builder third" in str(refused(NOT_CONNECTED, desk.connections.choose, "third"))


@pytest.mark.parametrize("words", ['ERROR: no builder "fleet" found\n', "ERROR: disk full\n"])
def test_disconnecting_takes_the_certificate_whatever_buildx_says(desk: Desk, words: str) -> None:
    desk.connect()
    desk.let("fails-rm", words)

    if "no builder" in words:
        connecting.disconnect("fleet", connections=desk.connections)
    else:
        with pytest.raises(ToolError, match="disk full"):
            connecting.disconnect("fleet", connections=desk.connections)

    assert desk.connections.names() == []


def test_the_load_balancer_comes_before_the_services_unless_they_are_asked_for() -> None:
    assert FleetOutputs.read("s", OUTPUTS | POD_OUTPUTS).endpoints[ARM64] == "tcp://main.internal:1235"
    assert (
        FleetOutputs.read("s", OUTPUTS | POD_OUTPUTS, in_cluster=True).endpoints[ARM64] == POD_OUTPUTS["Arm64Service"]
    )
    assert FleetOutputs.read("s", POD_OUTPUTS).endpoints[ARM64] == POD_OUTPUTS["Arm64Service"]
    assert FleetOutputs.read("s", POD_OUTPUTS).server_name == "main.internal"


@pytest.mark.parametrize("missing", ["WriteScope", "ClientCertificateSecret", "WakeFunction", "CacheNamesFunction"])
def test_a_stack_without_an_output_is_no_fleet(missing: str, refused: Callable[..., ToolError]) -> None:
    outputs = {name: value for name, value in OUTPUTS.items() if name != missing}

    assert f"the stack s has no output {missing}; pass" in str(refused(NO_FLEET, FleetOutputs.read, "s", outputs))


def test_services_that_are_not_there_are_said_to_be_missing(refused: Callable[..., ToolError]) -> None:
    error = refused(NO_FLEET, FleetOutputs.read, "s", OUTPUTS, in_cluster=True)

    assert "no output Arm64Service or X8664Service" in str(error)


def test_an_architecture_that_the_fleet_has_not_is_refused(refused: Callable[..., ToolError]) -> None:
    outputs = {name: value for name, value in OUTPUTS.items() if name != "X8664Endpoint"}

    error = refused(ARCHITECTURE, FleetOutputs.read("s", outputs).only, (X86_64,))

    assert str(error).startswith("s builds for arm64; got --architecture x86_64: name one of these")


def quiet(_words: str) -> None:
    """Be told, and keep it."""
