"""The agent of a pod: whether more builds may come, what it publishes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdk_buildkit.host import pod_agent
from cdk_buildkit.host.pod_agent import PodAgent
from cdk_buildkit.host.publisher import Datum, Publisher

HOST = Path(__file__).parent.parent / "constructs/cdk_buildkit"


class Gatherer(Publisher):
    """Keeps what it is to send."""

    def __init__(self) -> None:
        super().__init__("CdkBuildkit", {})
        self.gathered: list[Datum] = []
        self.calls = 0

    def add(self, *data: Datum) -> None:
        self.gathered.extend(data)

    def send(self) -> None:
        self.calls += 1


@pytest.fixture
def gatherer() -> Gatherer:
    return Gatherer()


@pytest.fixture
def agent(gatherer: Gatherer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodAgent:
    """An agent beside a daemon that answers."""
    monkeypatch.setattr(pod_agent, "answers", lambda: True)
    monkeypatch.setattr(pod_agent, "LOOK_SECONDS", 0.01)
    return PodAgent(gatherer, max_builds=4, drain_seconds=0.05, publish_seconds=10, leaving=tmp_path / "leaving")


@pytest.fixture
def set_builds(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda number: monkeypatch.setattr(pod_agent, "count_builds", lambda: number)


def test_a_pod_with_room_takes_builds_and_is_ready(agent: PodAgent, set_builds: Callable[[int], None]) -> None:
    set_builds(3)

    assert agent.health() == (True, "3 builds of at most 4")
    assert agent.readiness().takes_builds


def test_a_full_pod_sends_the_load_balancer_elsewhere_and_stays_ready(
    agent: PodAgent, set_builds: Callable[[int], None]
) -> None:
    set_builds(4)

    assert agent.health() == (False, "4 builds of at most 4")
    assert agent.readiness().takes_builds


def test_a_pod_that_leaves_is_neither(agent: PodAgent, set_builds: Callable[[int], None], tmp_path: Path) -> None:
    set_builds(1)

    (tmp_path / "leaving").touch()

    assert agent.health() == (False, "draining: the pod is to go")
    assert agent.readiness() == agent.health()


def test_a_pod_whose_daemon_does_not_answer_is_neither(
    agent: PodAgent, set_builds: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_builds(0)
    monkeypatch.setattr(pod_agent, "answers", lambda: False)

    assert agent.health() == agent.readiness() == (False, "buildkitd does not answer")


def test_builds_that_outlast_the_drain_are_counted_before_the_kubelet_ends_them(
    agent: PodAgent,
    gatherer: Gatherer,
    set_builds: Callable[[int], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_builds(2)
    (tmp_path / "leaving").touch()

    agent.watch_drain()

    assert [(each.name, each.value) for each in gatherer.gathered] == [("DrainTimeouts", 1), ("BuildsLost", 2)]
    assert gatherer.calls == 1
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["drain_started", "drain_timed_out", "builds_lost"]


def test_a_drain_whose_builds_have_ended_counts_nothing(
    agent: PodAgent, gatherer: Gatherer, set_builds: Callable[[int], None], tmp_path: Path
) -> None:
    set_builds(0)
    (tmp_path / "leaving").touch()

    agent.watch_drain()

    assert gatherer.gathered == []


def test_an_agent_that_is_told_to_end_does_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "cdk_buildkit_host").symlink_to(HOST / "host")
    environment = {
        "PATH": os.defpath,
        "AWS_REGION": "eu-west-1",
        "METRIC_NAMESPACE": "CdkBuildkit",
        "FLEET": "main",
        "ARCHITECTURE": "x86_64",
        "MAX_BUILDS": "4",
        "LONGEST_BUILD_SECONDS": "3600",
        "SETTLING_SECONDS": "120",
        "PUBLISH_SECONDS": "3600",
    }
    program = (
        "import cdk_buildkit_host.observer as observer, cdk_buildkit_host.pod_agent as agent\n"
        "observer.Observer.watch = lambda self: None\n"
        "import cdk_buildkit_host.health_server as server\n"
        "agent.HealthServer = lambda health, others: server.HealthServer(health, port=0, others=others)\n"
        "real = agent.signal.signal\n"
        "agent.signal.signal = lambda *a: (real(*a), print('listens', flush=True))\n"
        "agent.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "listens\n"

        process.send_signal(signal.SIGTERM)

        try:
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
