"""What a draining builder decides, without a builder; `test_drain_real.py` has the builders."""

import ast
import json
import os
from pathlib import Path

import pytest

from cdk_buildkit.builder_host import HOST_FILES
from cdk_buildkit.host import drain_rules as rules
from cdk_buildkit.host.aws_command import CallError
from cdk_buildkit.host.drain import Drain
from cdk_buildkit.host.fleet_calls import Fleet, NotWaitedForError
from cdk_buildkit.host.instance_metadata import MetadataError

NOTICE = '{"action": "terminate", "time": "2026-01-01T00:02:00Z"}'
END = 1767225720.0


@pytest.mark.parametrize("state", ["Terminated", "Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"])
def test_a_builder_that_leaves_its_group_drains(state: str) -> None:
    assert rules.cause_of_drain(rules.Signs(state, None)) == state


@pytest.mark.parametrize("state", [None, "InService", "Standby", "Detached"])
def test_a_builder_that_stays_does_not_drain(state: str | None) -> None:
    assert rules.cause_of_drain(rules.Signs(state, None)) is None


def test_only_a_builder_that_does_not_come_back_ends() -> None:
    assert rules.ends("Terminated")
    assert not any(map(rules.ends, [None, "InService", "Warmed:Stopped", "Warmed:Running"]))


def test_a_spot_notice_is_a_cause_whatever_the_group_says() -> None:
    notice = rules.parse_interruption(NOTICE)

    assert notice == rules.Interruption("terminate", END)
    assert rules.cause_of_drain(rules.Signs("InService", notice)) == "spot:terminate"


@pytest.mark.parametrize("words", ["", "[]", "{}", '{"action": "stop"}', '{"action": "stop", "time": "soon"}'])
def test_a_notice_that_aws_does_not_document_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"instance-action|time data|Expecting"):
        rules.parse_interruption(words)


def test_only_a_target_that_gets_no_new_connections_has_left() -> None:
    assert rules.has_left(["draining"])
    assert rules.has_left(["unused"])
    assert rules.has_left([])
    assert not rules.has_left(["healthy"])
    assert not rules.has_left(["unhealthy"])
    assert not rules.has_left(["draining", "initial"])


def test_settling_ends_before_a_spot_instance_does() -> None:
    notice = rules.Interruption("terminate", END)

    assert rules.settling_seconds(120, None, END - 30) == 120
    assert rules.settling_seconds(120, notice, END - 30) == 25
    assert rules.settling_seconds(120, notice, END + 1) == 0


def test_the_last_look_is_shortly_before_a_spot_instance_is_taken() -> None:
    notice = rules.Interruption("terminate", END)

    assert not rules.is_last_look(None, END)
    assert not rules.is_last_look(notice, END - 6)
    assert rules.is_last_look(notice, END - 5)


def test_only_established_connections_to_the_port_are_builds() -> None:
    header = "  sl  local_address rem_address   st tx_queue"
    listening = "   0: 00000000:04D2 00000000:0000 0A 00000000:00000000"
    build = "   1: 0200400A:04D2 0100400A:9C40 01 00000000:00000000"
    closing = "   2: 0200400A:04D2 0100400A:9C41 06 00000000:00000000"
    outgoing = "   3: 0200400A:9C42 0100400A:04D2 01 00000000:00000000"
    build_6 = "   0: 0000000000000000FFFF00000200400A:04D2 0000000000000000FFFF00000100400A:9C43 01 0:0"

    tables = [f"{header}\n{listening}\n{build}\n{closing}\n{outgoing}\n", f"{header}\n{build_6}\n"]

    assert rules.count_connections(tables, 1234) == 2


def test_attempts_are_made_ever_less_often_and_never_given_up() -> None:
    assert [rules.retry_seconds(attempt) for attempt in (1, 2, 3, 6, 100)] == [1, 2, 4, 30, 30]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an `aws` on PATH that says what the file `answer` has, with the code in `code`, and keeps its arguments."""
    program = tmp_path / "aws"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/arguments\ncat {tmp_path}/answer >&"$(cat {tmp_path}/stream)"\n'
        f"exit $(cat {tmp_path}/code)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return tmp_path


def say(aws: Path, answer: str, code: int = 0) -> None:
    (aws / "answer").write_text(answer)
    (aws / "code").write_text(str(code))
    (aws / "stream").write_text("2" if code else "1")


FLEET = Fleet("i-1", "arn:target-group", "group")


def test_the_states_of_a_target_are_read(aws: Path) -> None:
    say(aws, json.dumps({"TargetHealthDescriptions": [{"TargetHealth": {"State": "draining"}}]}))

    assert FLEET.target_states() == ["draining"]
    assert (aws / "arguments").read_text().split() == [
        *("--region=eu-west-1", "--output=json", "elbv2", "describe-target-health"),
        *("--target-group-arn=arn:target-group", "--targets=Id=i-1"),
    ]


def test_a_hook_that_does_not_wait_is_told_from_a_failure(aws: Path) -> None:
    say(aws, "An error occurred (ValidationError): No active Lifecycle Action found with instance ID i-1", 254)
    with pytest.raises(NotWaitedForError):
        FLEET.complete("drain")

    say(aws, "An error occurred (Throttling)", 254)
    with pytest.raises(CallError, match=r"complete-lifecycle-action: .*Throttling") as error:
        FLEET.complete("drain")

    assert not isinstance(error.value, NotWaitedForError)


def test_what_was_last_known_holds_while_the_metadata_service_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drain = Drain(FLEET, launching_hook="boot", terminating_hook="drain", heartbeat_seconds=300, settling=120)
    monkeypatch.setattr("cdk_buildkit.host.drain.read_signs", lambda: rules.Signs("Terminated", None))
    known = drain.look()

    def fail() -> None:
        raise MetadataError("no answer")

    monkeypatch.setattr("cdk_buildkit.host.drain.read_signs", fail)

    assert drain.look() == known == rules.Signs("Terminated", None)
    assert json.loads(capsys.readouterr().out) == {"event": "metadata_failed", "error": "no answer"}


@pytest.mark.parametrize("path", sorted(HOST_FILES.glob("*.py")), ids=lambda path: path.name)
def test_host_files_are_in_the_python_of_the_ami(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))
