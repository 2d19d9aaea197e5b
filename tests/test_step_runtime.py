"""What stands in for runc changes what BuildKit asks for, and nothing else."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdk_buildkit.host import step_runtime

PROCESS: dict[str, Any] = {
    "args": ["CAP_NET_RAW"],
    "capabilities": {name: ["CAP_CHOWN", "CAP_NET_RAW"] for name in ("bounding", "effective", "permitted")},
}
SPECIFICATION: dict[str, Any] = {
    "process": PROCESS,
    "linux": {"resources": {"devices": [{"allow": False}]}, "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"}},
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a function
    """Run it as BuildKit does, before a program that prints its arguments."""
    program = tmp_path / "runc"
    program.write_text('#!/bin/sh\necho "$@" "$(cat /proc/self/oom_score_adj)"\n')
    program.chmod(0o755)
    monkeypatch.setattr(step_runtime, "RUNC", str(program))

    def runtime(*arguments: str) -> str:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(write, 1)
            sys.argv = ["buildkit-step-runtime", *arguments]
            step_runtime.main()
        os.close(write)
        with os.fdopen(read) as output:
            said = output.read()
        assert os.waitpid(child, 0)[1] == 0
        return said

    return runtime


def test_a_containers_process_gets_no_raw_sockets_and_a_limit_of_processes(runtime: Any, tmp_path: Path) -> None:  # noqa: ANN401
    (tmp_path / "config.json").write_text(json.dumps(SPECIFICATION))

    said = runtime("--log", "log.json", "run", "--bundle", str(tmp_path), "--keep", "id")

    wanted = copy.deepcopy(SPECIFICATION)
    wanted["process"]["capabilities"] = {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
    wanted["linux"]["resources"]["pids"] = {"limit": 16384}
    assert json.loads((tmp_path / "config.json").read_text()) == wanted
    assert said == f"--log log.json run --bundle {tmp_path} --keep id 1000\n"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {"memory": {"limit": 1 << 30, "swap": 1 << 30}, "cpu": {"period": 100000, "quota": 150000}}),
        (
            {"memory": {"limit": 1 << 20, "swap": -1}, "cpu": {"period": 50000, "quota": 10000, "shares": 2}},
            {"memory": {"limit": 1 << 20, "swap": 1 << 20}, "cpu": {"period": 50000, "quota": 10000, "shares": 2}},
        ),
        (
            {"memory": {"limit": 1 << 40}, "cpu": {"period": 50000, "quota": 9000000}},
            {"memory": {"limit": 1 << 30, "swap": 1 << 30}, "cpu": {"period": 50000, "quota": 75000}},
        ),
        (
            {"memory": {"limit": -1}, "cpu": {"quota": -1}},
            {"memory": {"limit": 1 << 30, "swap": 1 << 30}, "cpu": {"period": 100000, "quota": 150000}},
        ),
    ],
    ids=["a client without limits", "less than is allowed", "more than is allowed", "no limit at all"],
)
def test_a_step_uses_what_the_builder_allows_and_its_client_asks_for(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], given: dict[str, Any]
) -> None:
    monkeypatch.setenv("STEP_MEMORY_BYTES", str(1 << 30))
    monkeypatch.setenv("STEP_CPUS", "1.5")

    step_runtime.limit_use(asked)

    assert asked == given


def test_a_step_uses_what_there_is_where_the_builder_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_MEMORY_BYTES", "0")
    monkeypatch.setenv("STEP_CPUS", "0")
    resources = {"memory": {"limit": 5}}

    step_runtime.limit_use(resources)

    assert resources == {"memory": {"limit": 5}}


def test_a_further_process_in_a_container_gets_no_raw_sockets_either(runtime: Any, tmp_path: Path) -> None:  # noqa: ANN401
    (tmp_path / "process.json").write_text(json.dumps(PROCESS))

    runtime("exec", "--process", str(tmp_path / "process.json"), "id")

    changed = json.loads((tmp_path / "process.json").read_text())
    assert changed["capabilities"] == {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
    assert changed["args"] == PROCESS["args"]


def test_every_other_call_is_runcs_own(runtime: Any) -> None:  # noqa: ANN401
    assert runtime("delete", "--force", "id") == "delete --force id 1000\n"


def test_it_fails_rather_than_run_a_container_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    done = subprocess.run(
        [sys.executable, step_runtime.__file__, "run", "--bundle", str(tmp_path), "id"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "KeyError" in done.stderr
