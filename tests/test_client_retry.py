"""Running a build once more: when, how often, and that its output, its signals and its exit code are its own."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_ops import connecting
from buildkit_ops.architecture import Architecture
from buildkit_ops.connection import Connections
from buildkit_ops.failures import NO_COMMAND, NOTHING_CONNECTED, UNREADABLE_STATE, ToolError
from buildkit_ops.lost_builder import lost_builder
from buildkit_ops.retrying import retry
from tests.test_client_connecting import OUTPUTS, Desk, Fleet

TOOL = str(Path(sys.executable).parent / "cdk-buildkit")
UNAVAILABLE = "ERROR: failed to build: failed to receive status: rpc error: code = Unavailable desc = "
EOF = "ERROR: failed to build: failed to solve: Unavailable: error reading from server: EOF"
# As buildx printed them when a real buildkitd v0.31.2 was taken from it.
LOSSES = {
    "killed": EOF,
    "killed, quiet": f"{UNAVAILABLE}error reading from server: EOF",
    "killed, bake": f"{UNAVAILABLE}error reading from server: EOF".replace("failed to build: ", ""),
    "killed, on a terminal": f"\x1b[?25h{EOF}\r",
    "reset": f"{UNAVAILABLE}error reading from server: read tcp 10.64.0.1:59832->10.64.0.3:1234: read: connection "
    "reset by peer",
    "vanished": f"{UNAVAILABLE}error reading from server: read tcp 10.64.0.1:46732->10.64.0.3:1234: read: connection "
    "timed out",
    "told to leave, then killed": f'{UNAVAILABLE}closing transport due to: connection error: desc = "error reading '
    'from server: EOF", received prior goaway: code: NO_ERROR, debug data: "graceful_stop"',
    "nobody answered": "ERROR: failed to build: context deadline exceeded",
}
STEP = 'ERROR: failed to build: failed to solve: process "/bin/sh -c {}" did not complete successfully: exit code: 1'
OWN = {
    "a step": STEP.format("exit 1"),
    "a step that says it": STEP.format(f"echo {EOF}"),
    "a step of several lines": STEP.format(f"\n{EOF}\n"),
    "cancelled": "ERROR: failed to build: failed to solve: Canceled: context canceled",
    "another server": "ERROR: failed to build: failed to solve: busybox: unexpected status from HEAD request to "
    "https://registry/v2/: 503 Service Unavailable",
    "a slow registry": "ERROR: failed to build: failed to solve: failed to push registry/app: context deadline "
    "exceeded",
    "a word before another": f"{EOF}\nmake: *** [Makefile:2: image] Error 1",
    "nothing": "",
}


class Builds:
    """Stands in for a build: a script that counts its runs, and does in each what it is told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.said: list[str] = []
        self.waits = 0

    def retry(self, *runs: str) -> int:
        for number, script in enumerate(runs):
            (self._directory / f"run-{number}").write_text(script)
        return retry([*self.command], wait=self._wait, say=self.said.append)

    def _wait(self) -> None:
        self.waits += 1

    @property
    def command(self) -> list[str]:
        count = 'cd "$0"; n=$(ls -d ran-* 2>/dev/null | wc -l); mkdir "ran-$n"; . "./run-$n"'
        return ["sh", "-c", count, str(self._directory)]

    @property
    def runs(self) -> int:
        return len(list(self._directory.glob("ran-*")))


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    directory = tmp_path / "builds"
    directory.mkdir()
    return Builds(directory)


def loses(exit_code: int = 1) -> str:
    return f"echo '{EOF}' >&2; exit {exit_code}"


@pytest.mark.parametrize("said", LOSSES.values(), ids=LOSSES)
def test_a_lost_builder_is_known_by_buildxs_last_words(said: str) -> None:
    assert lost_builder(f"#5 [2/2] RUN sleep 60\n{said}\n")


@pytest.mark.parametrize("said", OWN.values(), ids=OWN)
def test_a_failure_of_the_builds_own_is_no_lost_builder(said: str) -> None:
    assert lost_builder(f"#5 [2/2] RUN sleep 60\n{said}\n") is None


def test_a_build_that_lost_its_builder_is_run_once_more(builds: Builds) -> None:
    assert builds.retry(loses(), "exit 0") == 0

    assert (builds.runs, builds.waits) == (2, 1)
    assert builds.said[0].startswith(f"the builder was lost ({EOF}); the command is run once more")
    assert builds.said[1].startswith("running once more: sh -c ")


def test_a_second_loss_is_said_and_is_the_end(builds: Builds) -> None:
    assert builds.retry(loses(), loses(7)) == 7

    assert (builds.runs, builds.waits) == (2, 1)
    assert builds.said[-1] == f"the builder was lost a second time ({EOF}); not run again"


@pytest.mark.parametrize("script", ["exit 3", f"echo '{EOF}' >&2; exit 0", f"echo '{EOF}'; exit 1", "kill -9 $$"])
def test_what_lost_no_builder_is_not_run_again(builds: Builds, script: str) -> None:
    assert builds.retry(script) == {"exit 3": 3, "kill -9 $$": 137}.get(script, script.endswith("1"))

    assert (builds.runs, builds.waits, builds.said) == (1, 0, [])


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match="`/nowhere` cannot be run: No such file or directory; write") as raised:
        retry(["/nowhere"], wait=never, say=never)

    assert raised.value.failure is NO_COMMAND


@pytest.fixture
def connected(tmp_path: Path) -> dict[str, str]:
    """Save a connection to a fleet that nobody can ask, and return the environment that has it."""
    directory = tmp_path / "state" / "cdk-buildkit" / "fleet"
    directory.mkdir(parents=True)
    origin = {"stack": "builders", "region": "eu-west-1", "profile": "nobody", "architectures": ["arm64"]}
    (directory / "connection.json").write_text(json.dumps(origin | {"in_cluster": False, "through_ssm": False}))
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "AWS_CONFIG_FILE": "/dev/null"}


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([TOOL, "retry", "--", *command], env=environment, capture_output=True, check=False)


def test_output_and_exit_code_are_the_commands_own(connected: dict[str, str]) -> None:
    done = run(["sh", "-c", r"printf 'a\0\377b'; printf 'c\r\0\376' >&2; exit 42"], connected)

    assert (done.returncode, done.stdout, done.stderr) == (42, b"a\0\xffb", b"c\r\0\xfe")


def test_outputs_that_are_one_stay_in_order(connected: dict[str, str]) -> None:
    script = "for each in 1 2 3 4 5 6 7 8 9; do echo out $each; echo err $each >&2; done"
    done = subprocess.run(
        [TOOL, "retry", "sh", "-c", script], env=connected, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )

    assert done.stdout.decode().split("\n")[:-1] == [f"{way} {each}" for each in range(1, 10) for way in ("out", "err")]


def test_a_command_at_a_terminal_has_one_and_what_it_writes_is_unchanged(connected: dict[str, str]) -> None:
    ours, its = pty.openpty()
    script = r"test -t 1 && test -t 2 && printf 'a\nb\r\n\033[1m'"
    with subprocess.Popen([TOOL, "retry", "sh", "-c", script], env=connected, stdout=its, stderr=its) as process:
        os.close(its)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)

    assert process.returncode == 0
    assert said == b"a\r\nb\r\r\n\x1b[1m"  # the outer terminal's own carriage returns, as without the tool


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "TERM"), (signal.SIGINT, "INT"), (signal.SIGHUP, "HUP")])
def test_a_signal_is_passed_on_and_what_was_cancelled_is_not_run_again(
    connected: dict[str, str], number: signal.Signals, name: str
) -> None:
    script = f"trap 'echo passed on; echo \"{EOF}\" >&2; exit 9' {name}; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [TOOL, "retry", "--", "sh", "-c", script],
        env=connected,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        said, errors = process.stdout.read(), process.stderr.read()

    assert (process.returncode, said, errors.decode()) == (9, b"passed on\n", f"{EOF}\n")


def test_when_the_fleet_cannot_be_asked_the_tools_words_and_code_are_the_end(connected: dict[str, str]) -> None:
    done = run(["sh", "-c", loses()], connected)

    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1].startswith("cdk-buildkit: no AWS credentials were found")


def test_without_a_connection_nothing_is_run(tmp_path: Path) -> None:
    done = run(["touch", str(tmp_path / "ran")], {**os.environ, "XDG_STATE_HOME": str(tmp_path)})

    assert done.returncode == NOTHING_CONNECTED.exit_code
    assert done.stderr.decode() == f"cdk-buildkit: {NOTHING_CONNECTED.words}\n"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["", '{"stack": "builders"}', "[]", '{"architectures": ["sparc"]}'])
def test_a_connection_that_does_not_say_what_it_is_has_to_be_made_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "connection.json").write_text(text)

    with pytest.raises(ToolError, match="does not say what is connected") as raised:
        Connections(tmp_path).origin("fleet")

    assert raised.value.failure is UNREADABLE_STATE


def test_waiting_again_wakes_what_was_connected_and_leaves_the_builder_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shaken: list[tuple[str, Path]] = []
    monkeypatch.setattr(connecting, "wait_until_let_in", lambda place, _, files, **__: shaken.append((place, files)))
    desk = Desk(tmp_path)
    desk.connect(architectures=(Architecture.ARM64,))
    calls, fleet = list(desk.calls), Fleet()
    shaken.clear()

    connecting.wait_again(fleet, "fleet", minutes=1, connections=desk.connections, tell=str)  # type: ignore[arg-type]

    assert fleet.woken == [{"arm64": 1}]
    assert shaken == [(OUTPUTS["Arm64Endpoint"], desk.connections.directory("fleet"))]
    assert desk.calls == calls


def test_the_end_of_what_was_said_is_enough(builds: Builds) -> None:
    long = f"head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; {loses()}"

    assert builds.retry(long, "exit 0") == 0


def never(*_: object) -> None:
    raise AssertionError("there is nothing to wait for, and nothing to say")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
