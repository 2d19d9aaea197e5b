"""Waking: how many builders a call brings, that no call takes any away, and what it says."""

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cdk_buildkit.handlers.group_lock import LEASE_SECONDS, REMEMBERED_SECONDS, GroupLock, LockedError
from cdk_buildkit.handlers.waiting_jobs import Answer, read_waiting_jobs
from cdk_buildkit.handlers.wake import index
from cdk_buildkit.handlers.wake.group import BuilderGroup
from cdk_buildkit.handlers.wake.waking import Capacity, wake
from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator

GROUPS = {"arm64": "builders-arm64", "x86_64": "builders-x86-64"}
MAXIMUM = 20


class Account:
    """An emulated account with a fleet's groups, whose instances are there at once, and the table of its locks."""

    def __init__(self, emulator: Emulator, suffix: str) -> None:
        aws = Aws(emulator.endpoint_url)
        self.autoscaling, self.dynamodb = aws.client("autoscaling"), aws.client("dynamodb")
        self.groups = {architecture: f"{name}-{suffix}" for architecture, name in GROUPS.items()}
        self.table = f"locks-{suffix}"
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "group", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        template = aws.client("ec2").create_launch_template(
            LaunchTemplateName=f"builder-{suffix}",
            LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "c7gd.2xlarge"},
        )
        for name in self.groups.values():
            self.autoscaling.create_auto_scaling_group(
                AutoScalingGroupName=name,
                MinSize=0,
                MaxSize=MAXIMUM,
                LaunchTemplate={
                    "LaunchTemplateId": template["LaunchTemplate"]["LaunchTemplateId"],
                    "Version": "1",
                },
                AvailabilityZones=[f"{REGION}a"],
            )

    def desired(self, architecture: str) -> int:
        (group,) = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.groups[architecture]])[
            "AutoScalingGroups"
        ]
        desired: int = group["DesiredCapacity"]
        return desired

    def lock(self, architecture: str = "arm64") -> GroupLock:
        return GroupLock(self.dynamodb, self.table, self.groups[architecture])


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator") / "requests.log", enforce_iam=False) as emulator:
        yield emulator


@pytest.fixture
def account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Account:
    account = Account(emulator, f"{abs(hash(request.node.name)):x}")
    for name, value in {
        **emulator.environment,
        "GROUPS": json.dumps({architecture: [name] for architecture, name in account.groups.items()}),
        "BUILDS_PER_BUILDER": "2.0",
        "LOCK_TABLE": account.table,
    }.items():
        monkeypatch.setenv(name, value)
    return account


class FixedGroup:
    """A group that is as it is given, and writes down what it is told."""

    name = "builders"

    def __init__(self, *capacities: Capacity) -> None:
        self._capacities = list(capacities)
        self.told: list[int] = []

    def capacity(self) -> Capacity:
        return self._capacities.pop(0) if len(self._capacities) > 1 else self._capacities[0]

    def set_desired(self, desired: int) -> None:
        self.told.append(desired)


class FreeLock:
    """A lock that nobody else wants."""

    def __init__(self, last: int | None = 0) -> None:
        self._last = last
        self.released: list[int | None] = []

    def take(self) -> int | None:
        return self._last

    def release(self, desired: int | None) -> None:
        self.released.append(desired)


def capacity(desired: int, in_service: int, maximum: int = 8, problem: str | None = None) -> Capacity:
    return Capacity(desired=desired, maximum=maximum, serving=tuple(map(str, range(in_service))), problem=problem)


def woken(group: FixedGroup, jobs: int, lock: FreeLock | None = None) -> Answer:
    return wake(group, lock or FreeLock(), waiting_jobs=jobs, builds_per_builder=2.0)


# How many


@pytest.mark.parametrize(("jobs", "builders"), [(1, 1), (2, 1), (3, 2), (10, 5), (16, 8), (17, 8), (1_000_000, 8)])
def test_waiting_jobs_call_for_builders_up_to_the_maximum(jobs: int, builders: int) -> None:
    group = FixedGroup(capacity(0, 0))

    woken(group, jobs)

    assert group.told == [builders]


@pytest.mark.parametrize("desired", [2, 5, 8])
def test_a_group_that_has_or_wants_as_many_is_left_alone(desired: int) -> None:
    group = FixedGroup(capacity(desired, 1))

    answer = woken(group, 4)

    assert group.told == []
    assert (answer.in_service, answer.coming) == (1, desired - 1)


def test_what_another_raised_in_between_is_not_lowered() -> None:
    group = FixedGroup(capacity(0, 0), capacity(5, 0))

    answer = woken(group, 4)

    assert group.told == []
    assert answer.coming == 5


def test_what_was_set_a_moment_ago_counts_although_the_group_does_not_show_it_yet() -> None:
    group, lock = FixedGroup(capacity(0, 0)), FreeLock(last=5)

    answer = woken(group, 4, lock)

    assert group.told == []
    assert answer.coming == 5
    assert lock.released == [None]


def test_the_lock_is_given_back_when_aws_refuses() -> None:
    class Refusing(FixedGroup):
        def set_desired(self, desired: int) -> None:
            raise RuntimeError(desired)

    lock = FreeLock()

    with pytest.raises(RuntimeError):
        woken(Refusing(capacity(0, 0)), 1, lock)

    assert lock.released == [None]


def test_a_lock_that_is_not_to_be_had_is_told_after_a_while() -> None:
    clock = iter(range(100))
    group = FixedGroup(capacity(0, 0))

    with pytest.raises(LockedError, match="the desired capacity of builders was being changed for 20 s: call again"):
        wake(
            group,
            FreeLock(last=None),
            waiting_jobs=1,
            builds_per_builder=2.0,
            sleep=lambda _: None,
            now=lambda: float(next(clock)),
        )

    assert group.told == []


# What it says


@pytest.mark.parametrize(
    ("group", "jobs", "words"),
    [
        (capacity(0, 0), 1, "0 builders in service, 1 coming"),
        (capacity(1, 1), 1, "1 builder in service, 0 coming"),
        (
            capacity(8, 3),
            30,
            "3 builders in service, 5 coming; the waiting jobs call for 15, and max_capacity is 8",
        ),
        (
            capacity(2, 0, problem="no c7gd.2xlarge capacity"),
            4,
            "0 builders in service, 2 coming; the last launch failed: no c7gd.2xlarge capacity",
        ),
    ],
)
def test_the_answer_says_why_one_waits(group: Capacity, jobs: int, words: str) -> None:
    assert woken(FixedGroup(group), jobs).message == words


def test_a_launch_that_failed_lately_is_told_and_an_older_one_is_not() -> None:
    client = boto3.client("autoscaling", region_name=REGION)
    now = datetime.now(UTC)
    group: Any = {
        "AutoScalingGroupName": "builders",
        "MinSize": 0,
        "MaxSize": 8,
        "DesiredCapacity": 1,
        "DefaultCooldown": 300,
        "AvailabilityZones": [],
        "HealthCheckType": "EC2",
        "CreatedTime": now,
        "Instances": [],
    }
    problems = []
    for age in (timedelta(minutes=1), timedelta(hours=1)):
        activity = {
            "ActivityId": "1",
            "AutoScalingGroupName": "builders",
            "Cause": "a cause",
            "StartTime": now - age,
            "StatusCode": "Failed",
            "StatusMessage": "quota",
        }
        with Stubber(client) as stubber:
            stubber.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [group]})
            stubber.add_response("describe_scaling_activities", {"Activities": [activity]})
            problems.append(BuilderGroup(client, "builders").capacity().problem)

    assert problems == ["quota", None]


# Refusals


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({}, r"an event is a number of waiting jobs by architecture, of arm64, x86_64; got \{\}: call with"),
        ({"waiting_jobs": {}}, 'call with {"waiting_jobs": {"arm64": 1}}'),
        ({"waiting_jobs": 3}, "got {'waiting_jobs': 3}"),
        ({"waiting_jobs": {"arm64": 1}, "force": True}, "an event is a number of waiting jobs"),
        ({"waiting_jobs": {"riscv64": 1}}, "this fleet builds for arm64, x86_64; got 'riscv64': name one of these"),
        ({"waiting_jobs": {"arm64": 0}}, "waiting jobs are 1 to 1000000; got 0 for arm64: give how many wait"),
        ({"waiting_jobs": {"arm64": True}}, "got True for arm64"),
        ({"waiting_jobs": {"arm64": "3"}}, "got '3' for arm64"),
    ],
)
def test_an_event_that_asks_for_nothing_is_refused(event: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are asserted below, as they stand
        read_waiting_jobs(event, GROUPS)

    assert words.replace("\\", "") in str(refusal.value)


# In an emulated account


def test_a_call_wakes_only_the_architectures_that_it_names(account: Account) -> None:
    answers = index.handler({"waiting_jobs": {"arm64": 5}}, None)

    assert account.desired("arm64") == 3
    assert account.desired("x86_64") == 0
    assert answers == {
        "arm64": {
            "waiting_jobs": 5,
            "wanted": 3,
            "in_service": 0,
            "coming": 3,
            "max_capacity": MAXIMUM,
            "message": "0 builders in service, 3 coming",
            "builders": (),
        }
    }
    assert index.handler({"waiting_jobs": {"arm64": 5}}, None)["arm64"]["in_service"] == 3
    assert len(set(index.handler({"waiting_jobs": {"arm64": 5}}, None)["arm64"]["builders"])) == 3


def test_a_burst_of_calls_is_as_the_largest_of_them(account: Account) -> None:
    random.seed(4)
    jobs = [random.randint(1, 2 * MAXIMUM - 2) for _ in range(99)] + [2 * MAXIMUM - 2]  # noqa: S311 - it protects nothing
    random.shuffle(jobs)
    lock, told = threading.Lock(), []

    class Recorded(BuilderGroup):
        def set_desired(self, desired: int) -> None:
            super().set_desired(desired)
            with lock:
                told.append(desired)

    def call(number: int) -> Answer:
        group = Recorded(account.autoscaling, account.groups["arm64"])
        return wake(group, account.lock(), waiting_jobs=number, builds_per_builder=2.0)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(call, jobs))

    assert account.desired("arm64") == MAXIMUM - 1
    assert told == sorted(set(told))
    for number, answer in zip(jobs, answers, strict=True):
        assert answer.in_service + answer.coming >= -(-number // 2)


def test_a_hundred_equal_calls_bring_one_builder(account: Account) -> None:
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: index.handler({"waiting_jobs": {"x86_64": 1}}, None), range(100)))

    assert account.desired("x86_64") == 1
    assert {answer["x86_64"]["in_service"] + answer["x86_64"]["coming"] for answer in answers} == {1}


def test_one_call_at_a_time_has_the_lock_and_tells_the_next_what_it_set(account: Account) -> None:
    first, second = account.lock(), account.lock()

    assert first.take() == 0
    assert second.take() is None
    first.release(7)
    assert second.take() == 7


def test_a_caller_that_keeps_asking_gets_a_builder_in_place_of_one_that_has_gone_since(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = {"waiting_jobs": {"arm64": 4}}
    index.handler(ask, None)
    account.autoscaling.set_desired_capacity(AutoScalingGroupName=account.groups["arm64"], DesiredCapacity=1)
    now = datetime.now(UTC).timestamp()

    desired = []
    for elapsed in range(0, REMEMBERED_SECONDS + 10, 5):
        monkeypatch.setattr("time.time", lambda elapsed=elapsed: now + elapsed)
        index.handler(ask, None)
        desired.append(account.desired("arm64"))

    assert desired[0] == 1
    assert desired[-1] == 2


def test_each_group_has_a_lock_of_its_own(account: Account) -> None:
    assert account.lock("arm64").take() == 0
    assert account.lock("x86_64").take() == 0


def test_the_lock_of_a_call_that_died_is_free_after_its_lease(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.lock().take()
    now = datetime.now(UTC).timestamp()

    monkeypatch.setattr("time.time", lambda: now + LEASE_SECONDS + 2)

    assert account.lock().take() == 0


def test_what_was_set_is_forgotten_after_a_while(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = account.lock()
    lock.take()
    lock.release(7)
    now = datetime.now(UTC).timestamp()

    monkeypatch.setattr("time.time", lambda: now + REMEMBERED_SECONDS + 2)

    assert account.lock().take() == 0
