"""The host agent on real builders under real builds: what it counts and publishes, answers, and when it retires.

Run in a sandbox: `python -m local.sandbox pytest tests/test_agent_real.py`.
"""

import itertools
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.builder import Builder
from local.emulator.aws import REGION, Aws
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET, Fleet, events, wait_for_event
from tests.attacker import first_process
from tests.fleet_clients import Clients, losses

QUICK = {"SETTLING_SECONDS": "2", "HEARTBEAT_SECONDS": "2", "PUBLISH_SECONDS": "2"}
RETIRE = "TerminateInstanceInAutoScalingGroup"

_ports = itertools.count(1401)


def health(builder: Builder) -> tuple[int, str]:
    """What the load balancer is answered."""
    try:
        with urllib.request.urlopen(f"http://{builder.address}:1236/health", timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def wait_for_health(builder: Builder, expected: tuple[int, str], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while (found := health(builder)) != expected:
        assert time.monotonic() < until, found
        time.sleep(0.2)


def send(builder: Builder, program: str, number: signal.Signals) -> None:
    """Send a signal to the one process on the builder that runs the program."""
    namespace = Path(f"/proc/{first_process(builder)}/ns/pid").readlink()
    (process,) = (
        each
        for each in Path("/proc").glob("[0-9]*")
        if (each / "comm").read_text().strip() == program and (each / "ns/pid").readlink() == namespace
    )
    os.kill(int(process.name), number)


@contextmanager
def watching(*builders: Builder) -> Iterator[list[list[tuple[int, str]]]]:
    """Look at the builders' health all the time."""
    seen: list[list[tuple[int, str]]] = [[] for _ in builders]
    enough = Event()

    def watch(builder: Builder, answers: list[tuple[int, str]]) -> None:
        while not enough.wait(0.3):
            answers.append(health(builder))

    threads = [Thread(target=watch, args=each) for each in zip(builders, seen, strict=True)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def most_builds(answers: list[tuple[int, str]]) -> int:
    return max(int(words.split()[0]) for _, words in answers)


def in_flight(lab: Lab, since: datetime) -> list[dict[str, Any]]:
    """What has been published of the fleet, by periods of two seconds."""
    statistics = (
        Aws(lab.emulator.endpoint_url)
        .client("cloudwatch")
        .get_metric_statistics(
            Namespace="CdkBuildkit",
            MetricName="InFlightBuilds",
            Dimensions=[
                {"Name": "Fleet", "Value": lab.deployment.domain_name(FLEET)},
                {"Name": "Architecture", "Value": ARCHITECTURE.value},
            ],
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=2,
            Statistics=["Average", "SampleCount", "Sum"],
        )
    )
    return sorted(statistics["Datapoints"], key=lambda each: each["Timestamp"])


def retirements(fleet: Fleet) -> list[tuple[str, bool]]:
    return [(call.instance_id, call.accepted) for call in fleet.group.calls if call.action == RETIRE]


def test_running_builds_are_counted_and_published_under_the_builders_role(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    since = datetime.now(UTC)
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        fleet.launch()
        fleet.launch()
        builds = [pool.submit(clients.build, 16) for _ in range(3)]
        assert losses(builds) == []
        time.sleep(6)

    published = in_flight(lab, since)
    assert max(each["Sum"] for each in published) == 3
    assert {each["SampleCount"] for each in published if each["Sum"] == 3} == {2}
    assert {each["Average"] for each in published if each["Sum"] == 3} == {1.5}
    assert published[-1]["Sum"] == 0


def test_a_builder_publishes_in_no_other_namespace(lab: Lab) -> None:
    credentials = lab.credentials(FLEET)
    cloudwatch = boto3.client(
        "cloudwatch",
        region_name=REGION,
        endpoint_url=lab.emulator.endpoint_url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )

    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:PutMetricData"):
        cloudwatch.put_metric_data(Namespace="Billing", MetricData=[{"MetricName": "Spent", "Value": 0}])


def test_a_full_or_draining_builder_fails_the_health_check_and_its_builds_go_on(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    with Fleet(lab, next(_ports), environment={**QUICK, "MAX_BUILDS": "2"}) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        assert health(builder) == (200, "0 builds of at most 2")

        full = [pool.submit(clients.build, 10) for _ in range(2)]
        wait_for_health(builder, (503, "2 builds of at most 2"))
        assert losses(full) == []
        wait_for_health(builder, (200, "0 builds of at most 2"))

        last = pool.submit(clients.build, 10)
        wait_for_health(builder, (200, "1 builds of at most 2"))
        fleet.group.start_termination(builder)
        wait_for_health(builder, (503, "draining: Terminated"))
        assert losses([last]) == []
        assert fleet.balancer.killed_flows == 0


def test_a_builder_whose_daemon_hangs_fails_the_health_check(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        builder = fleet.launch()
        send(builder, "buildkitd", signal.SIGSTOP)

        wait_for_health(builder, (503, "buildkitd does not answer"))

        send(builder, "buildkitd", signal.SIGCONT)
        wait_for_health(builder, (200, "0 builds of at most 4"))


def test_a_burst_goes_to_the_builders_that_have_room(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    # The health check at the interval that the target group declares.
    with (
        Fleet(lab, next(_ports), environment={**QUICK, "MAX_BUILDS": "3"}, check_seconds=None) as fleet,
        ThreadPoolExecutor() as pool,
    ):
        clients = Clients(lab, fleet, tmp_path, busybox)
        first = fleet.launch()
        builds = [pool.submit(clients.build, 75) for _ in range(3)]
        wait_for_health(first, (503, "3 builds of at most 3"))
        others = [fleet.launch(), fleet.launch()]
        while fleet.balancer.state(first.instance_id) == "healthy":
            time.sleep(0.5)

        with watching(first, *others) as seen:
            builds += [pool.submit(clients.build, 8) for _ in range(6)]
            assert losses(builds) == []

        on_first, *on_others = [most_builds(answers) for answers in seen]
        assert on_first == 3
        assert all(0 < builds <= 3 for builds in on_others)


def test_idle_builders_retire_the_last_one_without_a_pause_in_service(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        last = fleet.launch({"IDLE_TIMEOUT_SECONDS": "45"})
        first = fleet.launch({"IDLE_TIMEOUT_SECONDS": "5"})

        wait_for_event(first, "retired")
        assert fleet.group.wait_for_drain(first) == "CONTINUE"
        wait_for_event(last, "retired", 60)
        assert fleet.group.wait_for_drain(last) == "CONTINUE"

        assert retirements(fleet) == [(first.instance_id, True), (last.instance_id, True)]
        assert fleet.group.desired == 0
        assert "withdrawn" in [event["event"] for event in events(first)]
        assert "withdrawn" not in [event["event"] for event in events(last)]


def test_the_minimum_stays_and_serves_all_the_time(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment={**QUICK, "IDLE_TIMEOUT_SECONDS": "3"}) as fleet:
        fleet.group.minimum = 1
        builder = fleet.launch()

        with watching(builder) as (answers,):
            wait_for_event(builder, "kept_at_minimum")
            time.sleep(5)

        assert {status for status, _ in answers} == {200}
        assert fleet.group.desired == 1
        assert {accepted for _, accepted in retirements(fleet)} == {False}


def test_a_busy_builder_does_not_retire_before_its_build_has_ended(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch({"IDLE_TIMEOUT_SECONDS": "4"})
        build = pool.submit(clients.build, 20)

        assert losses([build]) == []
        ended = time.monotonic()
        wait_for_event(builder, "retired")

        (call,) = (call for call in fleet.group.calls if call.action == RETIRE)
        assert call.at > ended + 3


def test_a_build_that_comes_to_a_withdrawn_builder_keeps_it(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        fleet.launch()
        builder = fleet.launch({"IDLE_TIMEOUT_SECONDS": "4"})
        clients = Clients(lab, fleet, tmp_path, busybox, address=f"{builder.address}:1234")
        wait_for_event(builder, "withdrawn")

        build = pool.submit(clients.build, 10)

        wait_for_event(builder, "busy_again")
        assert losses([build]) == []
        assert retirements(fleet) == []
        wait_for_health(builder, (200, "0 builds of at most 4"))


def test_a_builder_that_retires_into_the_warm_pool_serves_and_retires_again(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    quick = {**QUICK, "IDLE_TIMEOUT_SECONDS": "8"}
    with Fleet(lab, next(_ports), environment=quick, retired_state="Warmed:Stopped") as fleet:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        fleet.group.wait_for_drain(builder)
        wait_for_health(builder, (503, "draining: Warmed:Stopped"))

        fleet.group.return_from_pool(builder)

        assert clients.build(1).returncode == 0
        assert fleet.group.wait_for_drain(builder) == "CONTINUE"
        assert retirements(fleet) == [(builder.instance_id, True)] * 2


def test_steps_run_one_after_another_where_the_limit_says_so(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    seconds = {}
    for limit in ("1", "0"):
        environment = {**QUICK, "MAX_PARALLELISM": limit}
        directory = tmp_path / limit
        directory.mkdir()
        with Fleet(lab, next(_ports), environment=environment) as fleet, ThreadPoolExecutor() as pool:
            clients = Clients(lab, fleet, directory, busybox)
            fleet.launch()
            started = time.monotonic()
            builds = [pool.submit(clients.build, 8) for _ in range(3)]
            assert losses(builds) == []
            seconds[limit] = time.monotonic() - started

    assert seconds["1"] > 24
    assert seconds["0"] < 24


def test_a_fleet_limits_its_steps_whatever_their_client_asks_for(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    limits = {"STEP_MEMORY_BYTES": str(64 << 20), "STEP_CPUS": "0.5"}
    with Fleet(lab, next(_ports), environment={**QUICK, **limits}) as fleet:
        clients = Clients(lab, fleet, tmp_path, busybox)
        fleet.launch()

        beyond = clients.run("/busybox dd if=/dev/zero of=/dev/null bs=96M count=1", "--resource=memory=256m")
        shown = clients.run("/busybox cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us")

        assert "exit code: 137" in beyond.stdout
        assert "50000" in shown.stdout


def test_a_client_limits_the_memory_of_its_steps(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        clients = Clients(lab, fleet, tmp_path, busybox)
        fleet.launch()
        step = "/busybox dd if=/dev/zero of=/dev/null bs=96M count=1"

        within = clients.run(step, "--resource=memory=256m")
        beyond = clients.run(step, "--resource=memory=32m")

        assert within.returncode == 0, within.stdout
        assert "exit code: 137" in beyond.stdout
