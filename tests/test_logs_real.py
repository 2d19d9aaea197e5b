"""What builders log reaches CloudWatch Logs: real journald, the host's own files and role, an emulated account.

Run in a sandbox: `python -m local.sandbox pytest tests/test_logs_real.py`.
"""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.builder import Builder, BuilderError
from local.emulator.aws import REGION, Aws
from local.emulator.request_log import Denial
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET, Fleet

QUICK = {"SETTLING_SECONDS": "1", "HEARTBEAT_SECONDS": "2"}
PRINT = """
import socket, sys, time
stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
stream.connect("/run/systemd/journal/stdout")
stream.sendall(b"builder-example\\nbuilder-example.service\\n6\\n1\\n0\\n0\\n0\\n")
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    stream.sendall(f"line {number}\\n".encode())
    time.sleep(float(sys.argv[3]))
"""

_ports = itertools.count(1401)


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder(FLEET) as builder:
        yield builder


def log_group(lab: Lab, fleet: str = FLEET) -> str:
    return lab.deployment.log_group(fleet)


def logged(lab: Lab, instance_id: str) -> list[dict[str, Any]]:
    """What is in a builder's stream, in the order of time: each event's object, and when it came."""
    logs = Aws(lab.emulator.endpoint_url).client("logs")
    events: list[dict[str, Any]] = []
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group(lab), logStreamNames=[instance_id]
        )
        events = [event for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        pass
    return [
        {**json.loads(event["message"]), "at": event["timestamp"], "came": event["ingestionTime"]} for event in events
    ]


def wait_for(found: Callable[[], bool], seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, f"not in {seconds} s"
        time.sleep(0.5)


def run(builder: Builder, *command: str) -> None:
    """Run a command on a builder."""
    done = builder.run(*command)
    assert done.returncode == 0, done.stdout


def processes(word: str) -> list[int]:
    """The processes of a module of the host files, by their ids."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except FileNotFoundError:
            pass
    return found


def numbers(lab: Lab, builder: Builder, unit: str = "builder-example") -> list[int]:
    lines = [event["message"] for event in logged(lab, builder.instance_id) if event["unit"] == unit]
    return [int(line.removeprefix("line ")) for line in lines]


def test_boot_and_buildkitd_are_in_the_builders_own_stream(lab: Lab, builder: Builder) -> None:
    wait_for(lambda: any("running server on" in event.get("message", "") for event in logged(lab, builder.instance_id)))

    events = logged(lab, builder.instance_id)
    assert {event["unit"] for event in events} >= {"boot", "buildkitd"}
    assert "booted" in {event.get("event") for event in events}
    assert {event["fleet"] for event in events} == {lab.deployment.domain_name(FLEET)}
    assert {event["architecture"] for event in events} == {ARCHITECTURE.value}
    assert [
        record for record in lab.emulator.log.since(0) if isinstance(record, Denial) and record.service == "logs"
    ] == []


def test_a_builder_can_write_to_no_other_log_group_and_read_none(lab: Lab) -> None:
    credentials = lab.credentials(FLEET)
    logs = boto3.client(
        "logs",
        endpoint_url=lab.emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )

    for operation, arguments in (
        ("create_log_stream", {"logGroupName": log_group(lab, "pull-requests"), "logStreamName": "x"}),
        ("get_log_events", {"logGroupName": log_group(lab), "logStreamName": "x"}),
        ("delete_log_group", {"logGroupName": log_group(lab)}),
        ("put_retention_policy", {"logGroupName": log_group(lab), "retentionInDays": 1}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(logs, operation)(**arguments)


def test_no_line_is_lost_when_the_shipper_is_killed_again_and_again(lab: Lab, builder: Builder) -> None:
    killed = 0
    with ThreadPoolExecutor() as pool:
        printing = pool.submit(run, builder, "python3", "-c", PRINT, "0", "1500", "0.01")
        while not printing.done():
            time.sleep(1.7)  # in the middle of whatever it does
            for process in processes("cdk_buildkit_host.ship_logs"):
                os.kill(process, signal.SIGKILL)
                killed += 1
        printing.result()

    wait_for(lambda: set(numbers(lab, builder)) >= set(range(1500)))

    assert killed >= 5


def test_a_stop_of_the_shipper_sends_what_was_printed_before_it(lab: Lab, builder: Builder) -> None:
    # Whoever was killed last has been started again, once a line that came afterwards is there.
    run(builder, "python3", "-c", PRINT, "1999", "2000", "0")
    wait_for(lambda: 1999 in numbers(lab, builder))

    run(builder, "python3", "-c", PRINT, "2000", "2010", "0")
    run(builder, "/usr/local/bin/systemctl", "stop", "builder-logs.service")
    sent = numbers(lab, builder)
    run(builder, "/usr/local/bin/systemctl", "start", "builder-logs.service")

    assert set(sent) >= set(range(2000, 2010))


def test_lines_of_a_time_without_cloudwatch_are_sent_when_it_is_back(lab: Lab, builder: Builder) -> None:
    rule = ["OUTPUT", "--protocol", "tcp", "--dport", str(lab.emulator.port), "--jump", "REJECT"]
    run(builder, "iptables", "--wait", "--insert", *rule)
    try:
        run(builder, "python3", "-c", PRINT, "3000", "3020", "0")
        time.sleep(12)
        assert not set(numbers(lab, builder)) & set(range(3000, 3020))
    finally:
        run(builder, "iptables", "--wait", "--delete", *rule)

    wait_for(lambda: set(numbers(lab, builder)) >= set(range(3000, 3020)), 90)


def test_the_last_lines_of_a_drain_are_there_before_the_hook_is_answered(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        builder = fleet.launch()

        fleet.terminate(builder)

        answered = next(call.at for call in fleet.group.calls if call.hook == "drain" and "Complete" in call.action)
        events = {event.get("event"): event for event in logged(lab, builder.instance_id)}
    assert {"drain_started", "deregistered", "drain_ended"} <= set(events)
    assert events["drain_ended"]["unit"] == "builder-drain"
    # The stub's clock is monotonic, this one is not: both are read once, at the same time.
    assert events["drain_ended"]["came"] / 1000 <= answered + (time.time() - time.monotonic())


def test_why_a_boot_failed_is_there_when_the_builder_is_abandoned(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        with pytest.raises(BuilderError) as error:
            fleet.launch({"BUILDKIT_ARCHIVE_SHA256": "0" * 64})

        (answer,) = fleet.group.calls
    instance_id = error.value.instance_id
    events = logged(lab, instance_id)
    assert answer.result == "ABANDON"
    assert any("put the archive of that sum there" in event.get("message", "") for event in events)
    (failure,) = (event for event in events if event.get("event") == "boot_failed")
    assert failure["code"] == 1
    assert failure["came"] / 1000 <= answer.at + (time.time() - time.monotonic())


def test_a_boot_without_host_files_can_still_say_so(lab: Lab) -> None:
    with pytest.raises(BuilderError) as error:
        lab.boot(FLEET, environment={"HOST_FILES": "s3://nowhere/host.zip"})

    events = logged(lab, error.value.instance_id)
    assert {event["unit"] for event in events} == {"boot"}
    assert any("HeadObject" in event.get("message", "") for event in events)
    assert [event["code"] for event in events if event.get("event") == "boot_failed"] == [1]


def test_what_a_unit_said_before_it_failed_the_boot_is_there(lab: Lab) -> None:
    with pytest.raises(BuilderError) as error:
        lab.boot(FLEET, environment={"CERTIFICATE_SECRET": "nothing/of/this/name"})

    said = [event for event in logged(lab, error.value.instance_id) if event["unit"] == "builder-certificate"]
    assert any("GetSecretValue" in event.get("message", "") for event in said)
