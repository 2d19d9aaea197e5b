"""The process behind a forwarded port: ended when it is the one that was started, and no other."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_ops import port_forward
from buildkit_ops.failures import NO_PLUGIN, ToolError
from buildkit_ops.port_forward import PortForward, request, start

ANSWER = {"SessionId": "s-1", "TokenValue": "secret", "StreamUrl": "wss://x", "Endpoint": "https://ssm"}


@pytest.fixture
def forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortForward]:
    """Start a plugin that writes down what it can see, and waits."""
    program = tmp_path / "session-manager-plugin"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    forward = start(
        request("i-1", 5000),
        ANSWER,
        region="eu-west-1",
        profile=None,
        endpoint_url="https://ssm",
        log=tmp_path / "log",
    )
    yield forward
    forward.end()


def is_there(forward: PortForward) -> bool:
    return subprocess.run(["ps", "-p", str(forward.process)], capture_output=True, check=False).returncode == 0


def test_it_is_ended_once_and_ending_it_again_is_no_failure(forward: PortForward) -> None:
    assert is_there(forward)

    forward.end()
    forward.end()

    assert not is_there(forward)


def test_another_process_that_has_got_its_number_is_left_alone(forward: PortForward) -> None:
    replace(forward, started="Thu Jan  1 00:00:00 1970").end()

    assert is_there(forward)


def test_the_sessions_token_is_on_no_command_line(forward: PortForward, tmp_path: Path) -> None:
    while not (arguments := tmp_path / "arguments").exists() or not arguments.read_text():
        assert is_there(forward)

    assert "secret" not in arguments.read_text()
    assert (forward.session, forward.endpoint) == ("s-1", "tcp://127.0.0.1:5000")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 1.2.497.0", "it is 1.2.497.0, which takes the session's token on its command line"),
        ("exit 3", "it ended with code 3"),
    ],
)
def test_a_plugin_that_does_not_serve_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    program = tmp_path / "session-manager-plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with pytest.raises(ToolError) as raised:
        port_forward.check_plugin()

    assert raised.value.failure is NO_PLUGIN
    assert reason in str(raised.value)
