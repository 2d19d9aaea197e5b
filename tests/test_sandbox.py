"""A sandbox ends with its command, however that ends, and leaves nothing on the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sandbox import MARKER, SandboxError, run_in_sandbox
from local.toolchain import Toolchain

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _where_sandboxes_can_be_made(toolchain: Toolchain) -> None:
    assert toolchain


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sandbox in which a command and a process in the background sleep; `tmp_path / "up"` is there when they do."""
    script = f"sleep 900 & touch {tmp_path / 'up'}; exec sleep 901"
    process = subprocess.Popen(
        [sys.executable, "-m", "local.sandbox", "bash", "-c", script], cwd=ROOT, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def sleepers() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes() in (b"sleep\x00900\x00", b"sleep\x00901\x00"):
                found.append(process.name)
        except OSError:
            continue
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local.sandbox", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_commands_exit_code_is_passed_on() -> None:
    assert run("bash", "-c", "exit 7").returncode == 7


def test_a_command_that_a_signal_ends_has_the_shells_exit_code() -> None:
    assert run("bash", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_what_the_command_leaves_running_is_gone() -> None:
    completed = run("bash", "-c", "setsid sleep 900 & exit 0")

    assert completed.returncode == 0
    assert sleepers() == []


def test_the_sandbox_has_a_way_out_and_no_interface_of_the_machine() -> None:
    interfaces = {line.split(": ")[1] for line in run("ip", "-oneline", "link").stdout.splitlines()}

    assert {"lo", "tap0"} <= interfaces
    assert "eth0" not in interfaces


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_everything(sleeping: subprocess.Popen[bytes], number: signal.Signals) -> None:
    os.killpg(sleeping.pid, number) if number is signal.SIGINT else sleeping.send_signal(number)

    assert sleeping.wait(timeout=20) != 0
    assert sleepers() == []


def test_a_killed_sandbox_takes_everything_with_it(sleeping: subprocess.Popen[bytes]) -> None:
    sleeping.kill()
    sleeping.wait()

    deadline = time.monotonic() + 10
    while sleepers():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sandbox_without_root_says_why_it_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(SandboxError, match="root is needed, because BuildKit's worker mounts file systems"):
        run_in_sandbox(["true"])


def test_a_sandbox_on_another_system_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(SandboxError, match="need Linux namespaces; this is darwin: use a Linux machine or VM"):
        run_in_sandbox(["true"])


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sandbox.shutil.which", lambda program: None if program == "slirp4netns" else program)

    with pytest.raises(SandboxError, match="apt-get install slirp4netns"):
        run_in_sandbox(["true"])


def test_this_test_runs_in_one() -> None:
    assert MARKER in os.environ
