"""What the host agent decides and sends, without a builder; `test_agent_real.py` has the builders."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdk_buildkit.builder_load_balancer import BUILDKIT_PORT, HEALTH_PATH, HEALTH_PORT
from cdk_buildkit.builder_scaling import IN_FLIGHT_BUILDS
from cdk_buildkit.host import builds, daemon_probe, fleet_calls, health_server, publisher, retirement
from cdk_buildkit.host.agent_rules import Condition, Health, Idleness, health
from cdk_buildkit.host.aws_command import CallError
from cdk_buildkit.host.fleet_calls import AtMinimumError, Fleet
from cdk_buildkit.host.publisher import Datum, Publisher
from cdk_buildkit.host.retirement import Retirement

ME = Fleet("i-me", "arn:target-group", "builders")
READY = Condition(cause_of_drain=None, answers=True, withdrawn=False, builds=0)


# Health


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (READY, Health(takes_builds=True, words="0 builds of at most 4")),
        (READY._replace(builds=3), Health(takes_builds=True, words="3 builds of at most 4")),
        (READY._replace(builds=4), Health(takes_builds=False, words="4 builds of at most 4")),
        (READY._replace(builds=9), Health(takes_builds=False, words="9 builds of at most 4")),
        (READY._replace(withdrawn=True), Health(takes_builds=False, words="idle: about to retire")),
        (READY._replace(answers=False), Health(takes_builds=False, words="buildkitd does not answer")),
        (
            READY._replace(cause_of_drain="spot:terminate", answers=False),
            Health(takes_builds=False, words="draining: spot:terminate"),
        ),
    ],
)
def test_a_builder_takes_builds_while_it_has_room_and_stays(condition: Condition, expected: Health) -> None:
    assert health(condition, max_builds=4) == expected


def test_the_load_balancer_asks_where_the_agent_answers() -> None:
    assert (health_server.HEALTH_PORT, health_server.HEALTH_PATH) == (HEALTH_PORT, HEALTH_PATH)
    assert builds.BUILDKIT_PORT == BUILDKIT_PORT
    assert builds.IN_FLIGHT_BUILDS == IN_FLIGHT_BUILDS


def test_idleness_begins_anew_with_each_build() -> None:
    idleness = Idleness(now=100)

    assert [
        idleness.look(160, busy=False),
        idleness.look(161, busy=True),
        idleness.look(191, busy=False),
    ] == [60, 0, 30]


# buildkitd


@contextmanager
def listener(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket whose one connection is treated so."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", True),
        (b"\x00\x00\x06\x04", False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (b"", False),
    ],
)
def test_a_daemon_answers_that_speaks_http_2(tmp_path: Path, answer: bytes, *, answers: bool) -> None:
    with listener(tmp_path / "socket", lambda connection: connection.sendall(answer)) as path:
        assert daemon_probe.answers(path) is answers


def test_a_daemon_that_accepts_and_is_silent_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_probe, "_PATIENCE_SECONDS", 0.1)
    enough = threading.Event()

    with listener(tmp_path / "socket", lambda _: wait(enough)) as path:
        assert not daemon_probe.answers(path)
        enough.set()


def wait(event: threading.Event) -> None:
    event.wait(5)


def test_a_daemon_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    assert not daemon_probe.answers(str(tmp_path / "socket"))


# Publishing


class CloudWatch:
    """Takes what is sent, or refuses it."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refuses = False

    def __call__(self, service: str, operation: str, parameters: dict[str, Any]) -> str:
        assert (service, operation) == ("cloudwatch", "put-metric-data")
        if self.refuses:
            raise CallError("cloudwatch put-metric-data: no")
        self.requests.append(parameters)
        return ""

    @property
    def values(self) -> list[float]:
        return [datum["Value"] for request in self.requests for datum in request["MetricData"]]


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> CloudWatch:
    fake = CloudWatch()
    monkeypatch.setattr(publisher, "aws_with_input", fake)
    return fake


def test_data_are_written_as_cloudwatch_takes_them(cloudwatch: CloudWatch) -> None:
    sender = Publisher("CdkBuildkit", {"Fleet": "main"})

    sender.add(Datum("InFlightBuilds", 3, 1767225720.5, unit="Count", high_resolution=True))
    sender.add(Datum("Builds", 1, 1767225720, dimensions={"Result": "failed"}))
    sender.send()

    assert cloudwatch.requests == [
        {
            "Namespace": "CdkBuildkit",
            "MetricData": [
                {
                    "MetricName": "InFlightBuilds",
                    "Dimensions": [{"Name": "Fleet", "Value": "main"}],
                    "Timestamp": "2026-01-01T00:02:00Z",
                    "Value": 3,
                    "Unit": "Count",
                    "StorageResolution": 1,
                },
                {
                    "MetricName": "Builds",
                    "Dimensions": [{"Name": "Fleet", "Value": "main"}, {"Name": "Result", "Value": "failed"}],
                    "Timestamp": "2026-01-01T00:02:00Z",
                    "Value": 1,
                    "Unit": "None",
                    "StorageResolution": 60,
                },
            ],
        }
    ]


def test_no_call_is_made_for_nothing(cloudwatch: CloudWatch) -> None:
    Publisher("CdkBuildkit", {}).send()

    assert cloudwatch.requests == []


def test_what_could_not_be_sent_goes_with_the_next_in_its_order_and_in_batches(cloudwatch: CloudWatch) -> None:
    sender = Publisher("CdkBuildkit", {})
    cloudwatch.refuses = True
    sender.add(*(Datum("Builds", value, 0) for value in range(700)))
    sender.send()
    sender.add(Datum("Builds", 700, 0))
    cloudwatch.refuses = False

    sender.send()

    assert cloudwatch.values == list(range(701))
    assert [len(request["MetricData"]) for request in cloudwatch.requests] == [500, 201]


def test_the_oldest_are_lost_when_nothing_can_be_sent_for_long(cloudwatch: CloudWatch) -> None:
    sender = Publisher("CdkBuildkit", {})
    cloudwatch.refuses = True
    for value in range(publisher.MOST_WAITING + 10):
        sender.add(Datum("Builds", value, 0))
    sender.send()
    cloudwatch.refuses = False

    sender.send()

    assert cloudwatch.values == list(range(10, publisher.MOST_WAITING + 10))


# Retiring


class Calls:
    """The AWS that one builder sees: which targets are healthy by turns, and what it answers to retiring."""

    def __init__(self, *healthy: list[str], error: str = "") -> None:
        self._healthy = list(healthy)
        self._error = error
        self.made: list[str] = []

    def __call__(self, _service: str, operation: str, *options: str) -> str:
        self.made.append(operation)
        if operation == "terminate-instance-in-auto-scaling-group":
            assert "--should-decrement-desired-capacity" in options
            if self._error:
                raise CallError(self._error)
            return ""
        targets = self._healthy.pop(0) if len(self._healthy) > 1 else self._healthy[0]
        states = ", ".join(
            f'{{"Target": {{"Id": "{each}"}}, "TargetHealth": {{"State": "healthy"}}}}' for each in targets
        )
        return f'{{"TargetHealthDescriptions": [{states}]}}'

    @property
    def retired(self) -> bool:
        return "terminate-instance-in-auto-scaling-group" in self.made


@pytest.fixture
def retire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Let an idle builder try to retire once, with these calls and counts of builds; time passes at once."""
    monkeypatch.setattr(retirement, "ASKING_SECONDS", 0.02)
    monkeypatch.setattr(retirement, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(retirement, "SIGHT_SECONDS", 0.1)

    def retire(calls: Calls, *counts: int) -> bool:
        monkeypatch.setattr(fleet_calls, "aws", calls)
        left = list(counts) or [0]
        each = Retirement(
            ME,
            idle_timeout=0,
            count_builds=lambda: left.pop(0) if len(left) > 1 else left[0],
            is_draining=lambda: False,
        )
        return each.retire()

    return retire


def test_a_builder_retires_once_it_is_seen_to_get_nothing_new(retire: Callable[..., bool]) -> None:
    calls = Calls(["i-me", "i-other"], ["i-me", "i-other"], ["i-other"])

    assert retire(calls)
    assert calls.made == [*["describe-target-health"] * 3, "terminate-instance-in-auto-scaling-group"]


def test_the_only_builder_retires_without_withdrawing(retire: Callable[..., bool]) -> None:
    calls = Calls(["i-me"])

    assert retire(calls)
    assert calls.made == ["describe-target-health", "terminate-instance-in-auto-scaling-group"]


@pytest.mark.parametrize("healthy", [["i-me"], ["i-me", "i-other"]])
def test_a_build_that_comes_meanwhile_keeps_the_builder(retire: Callable[..., bool], healthy: list[str]) -> None:
    calls = Calls(healthy, ["i-other"])

    assert not retire(calls, 1)
    assert not calls.retired


def test_a_build_that_comes_last_of_all_keeps_the_builder(retire: Callable[..., bool]) -> None:
    calls = Calls(["i-me", "i-other"], ["i-other"])

    assert not retire(calls, 0, 0, 1)
    assert not calls.retired


def test_a_builder_that_is_still_seen_to_get_builds_stays(retire: Callable[..., bool]) -> None:
    calls = Calls(["i-me", "i-other"])

    assert not retire(calls)
    assert not calls.retired


def test_the_minimum_keeps_a_builder(retire: Callable[..., bool]) -> None:
    words = (
        "An error occurred (ValidationError) when calling the TerminateInstanceInAutoScalingGroup operation: "
        "Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min "
        "size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size."
    )
    calls = Calls(["i-me"], error=words)

    assert not retire(calls)
    with pytest.raises(AtMinimumError):
        ME.retire()


def test_a_call_that_aws_refuses_keeps_a_builder(retire: Callable[..., bool]) -> None:
    calls = Calls(["i-me"], error="An error occurred (Throttling)")

    assert not retire(calls)
    with pytest.raises(CallError) as refusal:
        ME.retire()
    assert not isinstance(refusal.value, AtMinimumError)
