"""Waking pods: what the function puts, and what KEDA's own scaler reads of it, in an emulated account."""

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdk_buildkit.handlers.wake_pods import index
from cdk_buildkit.handlers.wake_pods.waking import HOLD, PERIOD, answer, count_live, data_times
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from local.emulator.aws import Aws
from local.emulator.process import Emulator
from local.keda import Reading, ask_scaler, install_scaler
from local.keda.cbor_gateway import CborGateway

NAMESPACE = "CdkBuildkit"


class Account:
    """An emulated account with one fleet's metrics, read by the triggers of the manifest."""

    def __init__(self, emulator: Emulator, gateway: CborGateway, scaler: Path, fleet: str) -> None:
        self.fleet = fleet
        self._gateway = gateway
        self._scaler = scaler
        self._environment = {**os.environ, **emulator.environment, "AWS_EC2_METADATA_DISABLED": "true"}
        self._cloudwatch = Aws(emulator.endpoint_url).client("cloudwatch")

    def publish(self, builds: float, *, age: float, architecture: str = "arm64") -> None:
        """Publish a builder's running builds as its agent does."""
        self._cloudwatch.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": "InFlightBuilds",
                    "Dimensions": [
                        {"Name": "Fleet", "Value": self.fleet},
                        {"Name": "Architecture", "Value": architecture},
                    ],
                    "Timestamp": datetime.now(UTC) - timedelta(seconds=age),
                    "Value": builds,
                    "StorageResolution": 1,
                }
            ],
        )

    def keda(self, trigger: str, architecture: str = "arm64") -> Reading:
        """Return what KEDA reads for a trigger of the manifest, on this fleet."""
        (metadata,) = [each["metadata"] for each in triggers() if each["name"] == trigger]
        asked = {**metadata, "dimensionValue": f"{self.fleet};{architecture}"}
        (reading,) = ask_scaler(self._scaler, [asked], self._environment, self._gateway.url)
        return reading


def triggers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = KubernetesManifest("scaled-object").document["spec"]["triggers"]
    return found


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with Emulator(tmp_path_factory.mktemp("emulator") / "requests.log", enforce_iam=False) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def gateway(emulator: Emulator) -> Iterator[CborGateway]:
    with CborGateway(emulator.endpoint_url) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def scaler() -> Path:
    return install_scaler()


@pytest.fixture
def account(
    emulator: Emulator,
    gateway: CborGateway,
    scaler: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Account:
    account = Account(emulator, gateway, scaler, f"{request.node.name}.buildkit.internal")
    for name, value in {
        **emulator.environment,
        "FLEET": account.fleet,
        "METRIC_NAMESPACE": NAMESPACE,
        "IN_FLIGHT_METRIC": "InFlightBuilds",
        "WAITING_METRIC": "WaitingJobs",
        "PUBLISH_SECONDS": "10",
        "BUILDS_PER_BUILDER": "3.0",
        "MAX_CAPACITIES": json.dumps({"arm64": 8, "x86_64": 4}),
    }.items():
        monkeypatch.setenv(name, value)
    return account


def woken(jobs: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    return index.handler({"waiting_jobs": jobs}, None)


# What KEDA makes of it


def test_a_fleet_that_nobody_wakes_stays_asleep(account: Account) -> None:
    for trigger in triggers():
        reading = account.keda(trigger["name"])

        assert (reading.value, reading.active) == (0, False)


def test_one_call_wakes_the_architecture_that_it_names_at_once_and_no_other(account: Account) -> None:
    woken({"arm64": 7})

    assert account.keda("waiting-jobs") == Reading(value=7, target=3, active=True)
    assert not account.keda("waiting-jobs", "x86_64").active


def test_a_call_still_counts_when_later_ones_name_fewer_jobs(account: Account) -> None:
    woken({"arm64": 7})
    woken({"arm64": 1})

    assert account.keda("waiting-jobs").value == 7


def test_a_burst_of_calls_is_as_the_largest_of_them(account: Account) -> None:
    random.seed(4)
    jobs = [random.randint(1, 13) for _ in range(23)] + [14]  # noqa: S311 - it protects nothing
    random.shuffle(jobs)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: woken({"arm64": number})["arm64"], jobs))

    assert account.keda("waiting-jobs").value == 14
    for number, each in zip(jobs, answers, strict=True):
        assert each["coming"] == -(-number // 3)


def test_the_running_builds_of_all_builders_count_whenever_each_publishes(account: Account) -> None:
    window = 30 - time.time() % 30
    for builds, offset in ((2, 1), (3, 4), (4, 9)):
        for publication in range(3):
            # In the newest whole half minute.
            account.publish(builds, age=60 - window - offset - 10 * publication)

    reading = account.keda("in-flight-builds")

    assert (reading.value / reading.target * 3, reading.active) == (9, True)


def test_builds_that_ended_a_minute_ago_do_not_hold_a_builder(account: Account) -> None:
    account.publish(4, age=100)

    assert not account.keda("in-flight-builds").active


# How long a call counts


def test_a_call_puts_one_datum_in_every_period_from_the_newest_whole_one_on() -> None:
    now = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)

    seconds = [int((at - now).total_seconds()) for at in data_times(now)]

    assert seconds == list(range(-10, 181, 10))
    assert timedelta(seconds=10) == PERIOD
    assert timedelta(minutes=3) == HOLD


def test_the_period_is_that_of_the_trigger() -> None:
    (metadata,) = [each["metadata"] for each in triggers() if each["name"] == "waiting-jobs"]

    assert int(metadata["metricStatPeriod"]) == PERIOD.total_seconds()


# What it says


def test_the_answer_counts_the_builders_that_publish(account: Account) -> None:
    time.sleep(max(0, time.time() % 30 - 27))  # not across the end of a window
    now = time.time() % 30
    for builder in range(2):
        for publication in range(3):
            account.publish(1, age=now + 1 + builder + 10 * publication - 0.5)

    assert woken({"arm64": 9, "x86_64": 1}) == {
        "arm64": {
            "waiting_jobs": 9,
            "wanted": 3,
            "in_service": 2,
            "coming": 1,
            "max_capacity": 8,
            "message": "2 builders in service, 1 coming",
            "builders": (),
        },
        "x86_64": {
            "waiting_jobs": 1,
            "wanted": 1,
            "in_service": 0,
            "coming": 1,
            "max_capacity": 4,
            "message": "0 builders in service, 1 coming",
            "builders": (),
        },
    }


@pytest.mark.parametrize(
    ("samples", "recent", "builders"), [(0, 0, 0), (0, 1, 1), (1, 0, 1), (3, 1, 1), (4, 0, 1), (5, 3, 2), (24, 0, 8)]
)
def test_a_datum_too_many_or_too_few_is_no_builder_more_or_less(samples: float, recent: float, builders: int) -> None:
    assert count_live(samples, recent, 3) == builders


def test_the_answer_says_when_there_will_never_be_as_many() -> None:
    message = answer(30, builds_per_builder=2.0, in_service=3, max_capacity=8).message

    assert message == "3 builders in service, 5 coming; the waiting jobs call for 15, and max_capacity is 8"


def test_an_architecture_that_the_fleet_has_not_is_refused_and_wakes_nobody(account: Account) -> None:
    with pytest.raises(ValueError, match="this fleet builds for arm64, x86_64; got 'riscv64'"):
        woken({"arm64": 1, "riscv64": 1})

    assert not account.keda("waiting-jobs").active
