"""What builders publish, and the alarms that it sets off: real BuildKit, the host's own files, an emulated account.

Run in a sandbox: `python -m local.sandbox pytest tests/test_metrics_real.py`.
"""

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.builder import Builder, BuilderError
from local.client import BuildError, Client
from local.emulator.aws import Aws
from local.emulator.request_log import Denial
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET, Fleet
from tests.deployed_alarms import DeployedAlarms
from tests.fleet_clients import Clients, losses

QUICK = {"SETTLING_SECONDS": "1", "HEARTBEAT_SECONDS": "2"}
MAIN = CacheScope("main")
FOREIGN = CacheScope("pull-requests")
CPU = ARCHITECTURE.construct_id

_ports = itertools.count(1501)
_numbers = itertools.count()


class Published:
    """What the emulated CloudWatch has of the fleet, or of another one, since this was made."""

    def __init__(self, lab: Lab, fleet: str | None = None) -> None:
        self._lab = lab
        self._fleet = fleet or lab.deployment.domain_name(FLEET)
        time.sleep(1 - time.time() % 1)  # builders publish by the second: nothing of an earlier test may count
        self._since = datetime.now(UTC).replace(microsecond=0)

    def statistics(self, metric: str) -> dict[str, float]:
        """Return SampleCount, Sum, Minimum and Maximum; none of them where nothing was published."""
        points = self.points(metric, 86400)
        return points[0] if points else {}

    def points(self, metric: str, period: int) -> list[dict[str, Any]]:
        """Return the same for each of its periods, with Timestamp."""
        points: list[dict[str, Any]] = (
            Aws(self._lab.emulator.endpoint_url)
            .client("cloudwatch")
            .get_metric_statistics(
                Namespace="CdkBuildkit",
                MetricName=metric,
                Dimensions=[
                    {"Name": "Fleet", "Value": self._fleet},
                    {"Name": "Architecture", "Value": ARCHITECTURE.value},
                ],
                StartTime=self._since,
                EndTime=datetime.now(UTC) + timedelta(minutes=1),
                Period=period,
                Statistics=["SampleCount", "Sum", "Minimum", "Maximum"],
            )["Datapoints"]
        )
        return sorted(points, key=lambda point: point["Timestamp"])

    def wait_for(self, metric: str, total: float, seconds: float = 120) -> None:
        """Wait until so much has been published."""
        until = time.monotonic() + seconds
        while self.statistics(metric).get("Sum", 0) < total:
            assert time.monotonic() < until, f"{metric}: {self.statistics(metric)} after {seconds} s"
            time.sleep(1)


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder(FLEET) as builder:
        yield builder


@pytest.fixture
def published(lab: Lab) -> Published:
    return Published(lab)


@pytest.fixture
def alarms(lab: Lab) -> DeployedAlarms:
    return DeployedAlarms(lab.emulator.endpoint_url, f"buildkit-builders-{FLEET}")


@pytest.fixture
def client(lab: Lab, builder: Builder) -> Client:
    return lab.client(FLEET, {ARCHITECTURE: builder})


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN echo {tmp_path.name} {next(_numbers)} >/built\n")
    return tmp_path


def test_builds_steps_and_durations_are_counted_as_the_clients_saw_them(
    lab: Lab, published: Published, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(MAIN, cache_name("metrics", "main"))

    builds = [client.build(context, options=options, arguments=busybox_arguments) for _ in range(3)]

    published.wait_for("Builds", 3)
    published.wait_for("BuildDuration", 0.1)
    durations = published.statistics("BuildDuration")
    steps, cached = published.statistics("Steps"), published.statistics("CachedSteps")
    assert published.statistics("Builds")["Sum"] == 3
    assert durations["SampleCount"] == 3
    assert durations["Sum"] <= sum(build.seconds for build in builds)
    assert durations["Minimum"] > 0
    assert cached["Sum"] == sum(build.cached_steps for build in builds) > 0
    assert steps["Sum"] > sum(build.steps for build in builds)  # BuildKit's own steps too
    assert not published.statistics("FailedBuilds")
    denials = [record for record in lab.emulator.log.since(0) if isinstance(record, Denial)]
    assert [denial for denial in denials if denial.service == "monitoring"] == []


def test_a_cache_that_is_still_empty_is_no_cache_error(
    published: Published, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    client.build(context, options=cache_options(MAIN, cache_name("metrics", "new")), arguments=busybox_arguments)

    published.wait_for("BuildDuration", 0.01)
    assert not published.statistics("CacheErrors")


def test_a_build_that_fails_is_counted_and_is_no_cache_error(
    published: Published, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN false\n")

    with pytest.raises(BuildError):
        client.build(context, options=cache_options(MAIN, cache_name("metrics", "x")), arguments=busybox_arguments)

    published.wait_for("FailedBuilds", 1)
    assert published.statistics("Builds")["Sum"] == 1
    assert not published.statistics("CacheErrors")


def test_an_export_that_is_denied_and_ignored_is_one_cache_error_and_three_are_an_alarm(
    published: Published, alarms: DeployedAlarms, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(FOREIGN, cache_name("metrics", "x"))
    client.build(context, options=options, arguments=busybox_arguments)

    published.wait_for("CacheErrors", 1)
    assert published.statistics("CacheErrors")["Sum"] == 1
    assert not published.statistics("FailedBuilds")
    assert not alarms.sounds(f"{CPU}CacheErrors")

    for _ in range(2):
        client.build(context, options=options, arguments=busybox_arguments)
    published.wait_for("CacheErrors", 3)
    assert alarms.sounds(f"{CPU}CacheErrors")


def test_a_layer_that_is_gone_is_a_cache_error_of_the_build_that_it_fails(
    lab: Lab, published: Published, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(MAIN, cache_name("metrics", "gone"))
    client.build(context, options=options, arguments=busybox_arguments)
    s3, bucket = Aws(lab.emulator.endpoint_url).client("s3"), lab.deployment.cache_bucket(ARCHITECTURE)
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=MAIN.blobs_prefix)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=item["Key"])

    with lab.builder(FLEET) as fresh:
        with pytest.raises(BuildError, match="NoSuchKey"):
            lab.client(FLEET, {ARCHITECTURE: fresh}).build(context, options=options, arguments=busybox_arguments)
        published.wait_for("CacheErrors", 1)


def test_the_store_is_as_full_as_its_file_system(published: Published, builder: Builder) -> None:
    published.wait_for("StoreUsedPercent", 0.1)

    words = builder.run("df", "--output=pcent", "/var/lib/buildkit").stdout.split()
    assert published.statistics("StoreUsedPercent")["Maximum"] == pytest.approx(int(words[1].rstrip("%")), abs=2)


def test_a_store_that_is_fuller_than_garbage_collection_lets_it_be_is_an_alarm(
    lab: Lab, published: Published, alarms: DeployedAlarms
) -> None:
    with lab.builder(FLEET) as builder:
        published.wait_for("StoreUsedPercent", 0.1)
        assert not alarms.sounds(f"{CPU}StoreFull")

        builder.run("mount", "-t", "tmpfs", "-o", "size=32M", "tmpfs", "/var/lib/buildkit")
        builder.run("dd", "if=/dev/zero", "of=/var/lib/buildkit/something", "bs=1M", "count=30")
        until = time.monotonic() + 60
        while not alarms.sounds(f"{CPU}StoreFull"):
            assert time.monotonic() < until
            time.sleep(1)

    assert published.statistics("StoreUsedPercent")["Maximum"] == pytest.approx(100 * 30 / 32, abs=1)


def test_a_daemon_that_hangs_is_an_alarm_in_five_minutes(
    lab: Lab, published: Published, alarms: DeployedAlarms
) -> None:
    with lab.builder(FLEET) as hanging:
        hanging.run("pkill", "-STOP", "-x", "buildkitd")
        published.wait_for("Unanswered", 4)

    times = [point["Timestamp"].timestamp() for point in published.points("Unanswered", 1)]
    alarm = alarms.alarm(f"{CPU}BuilderUnhealthy")
    between = max(later - earlier for earlier, later in pairwise(times))
    assert not alarms.sounds(f"{CPU}BuilderUnhealthy")
    assert between * alarm["Threshold"] < alarm["Period"]


def test_a_drain_that_has_to_cut_a_build_is_two_alarms(
    lab: Lab, published: Published, alarms: DeployedAlarms, context: Path, busybox_arguments: list[str]
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN sleep 600\n")
    with Fleet(lab, next(_ports), environment={**QUICK, "LONGEST_BUILD_SECONDS": "5"}) as fleet:
        builder = fleet.launch()
        client = lab.client(FLEET, {ARCHITECTURE: builder})
        with ThreadPoolExecutor() as pool:
            build = pool.submit(client.build, context, arguments=busybox_arguments)
            time.sleep(4)

            fleet.terminate(builder, 60)

            assert isinstance(build.exception(), BuildError)

    assert published.statistics("BuildsLost")["Sum"] == 1
    assert published.statistics("DrainTimeouts")["Sum"] == 1
    assert alarms.sounds(f"{CPU}BuildsLost")
    assert alarms.sounds(f"{CPU}DrainTimedOut")


def test_a_drain_of_a_daemon_that_hangs_times_out_and_loses_nothing(
    lab: Lab, published: Published, alarms: DeployedAlarms
) -> None:
    with Fleet(lab, next(_ports), environment={**QUICK, "LONGEST_BUILD_SECONDS": "5"}) as fleet:
        builder = fleet.launch()
        builder.run("pkill", "-STOP", "-x", "buildkitd")

        fleet.terminate(builder, 60)

    assert alarms.sounds(f"{CPU}DrainTimedOut")
    assert not published.statistics("BuildsLost")


def test_a_drain_that_ends_well_is_no_alarm(lab: Lab, published: Published, alarms: DeployedAlarms) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        fleet.terminate(fleet.launch())

    assert not published.statistics("DrainTimeouts")
    assert not alarms.sounds(f"{CPU}DrainTimedOut")


def test_two_boots_that_fail_are_an_alarm(lab: Lab, published: Published, alarms: DeployedAlarms) -> None:
    for failures in (1, 2):
        with pytest.raises(BuilderError):
            lab.boot(FLEET, environment={"BUILDKIT_ARCHIVE_SHA256": "0" * 64})

        assert published.statistics("BootFailures")["Sum"] == failures
        assert alarms.sounds(f"{CPU}BootsFail") is (failures == 2)


def test_the_builder_of_a_proof_is_counted_as_none_of_the_fleets(lab: Lab, published: Published) -> None:
    of_the_proof = Published(lab, f"proof.{lab.deployment.domain_name(FLEET)}")
    proof = lab.instance(FLEET)
    proof.set_metadata("meta-data/tags/instance/cdk-buildkit:proof", "true")
    failing = lab.instance(FLEET, environment={"BUILDKIT_ARCHIVE_SHA256": "0" * 64})
    failing.set_metadata("meta-data/tags/instance/cdk-buildkit:proof", "true")

    with pytest.raises(BuilderError):
        failing.power_on()
    proof.power_on()
    try:
        of_the_proof.wait_for("StoreUsedPercent", 0.1)
    finally:
        proof.destroy()

    assert of_the_proof.statistics("InFlightBuilds")["Sum"] == 0
    assert of_the_proof.statistics("BootFailures")["Sum"] == 1
    assert not published.statistics("BootFailures")


def test_alarms_on_what_aws_counts_join_it_with_what_builders_publish(
    lab: Lab, published: Published, tmp_path: Path, busybox: Path
) -> None:
    names = ("CannotLaunch", "AtMaximum", "NoBuilderAnswers")

    def sounding(**counts: int) -> set[str]:
        time.sleep(1)
        alarms = DeployedAlarms(lab.emulator.endpoint_url, f"buildkit-builders-{FLEET}")
        put_as_aws_does(lab, **counts)
        time.sleep(11)  # every builder has published since
        return {name for name in names if alarms.sounds(CPU + name)}

    with (
        Fleet(lab, next(_ports), environment={**QUICK, "MAX_BUILDS": "100"}) as fleet,
        ThreadPoolExecutor(max_workers=24) as pool,
    ):
        clients = Clients(lab, fleet, tmp_path, busybox)
        fleet.launch()
        # So many that the session's other builders of this fleet, which have none, do not make it a moderate average.
        builds = [pool.submit(clients.build, 80) for _ in range(24)]
        until = time.monotonic() + 75
        while published.statistics("InFlightBuilds").get("Maximum") != 24:
            assert time.monotonic() < until
            time.sleep(1)
        full = sounding(GroupDesiredCapacity=1, GroupInServiceInstances=1, GroupMaxSize=1, HealthyHostCount=0)
        assert losses(builds) == []
        launching = sounding(GroupDesiredCapacity=2, GroupInServiceInstances=1, GroupMaxSize=2, HealthyHostCount=1)
        unreached = sounding(GroupDesiredCapacity=1, GroupInServiceInstances=1, GroupMaxSize=2, HealthyHostCount=0)
        well = sounding(GroupDesiredCapacity=1, GroupInServiceInstances=1, GroupMaxSize=1, HealthyHostCount=1)
        asleep = sounding(GroupDesiredCapacity=0, GroupInServiceInstances=0, GroupMaxSize=2, HealthyHostCount=0)

    assert full == {"AtMaximum"}
    assert launching == {"CannotLaunch"}
    assert unreached == {"NoBuilderAnswers"}
    assert well | asleep == set()


def put_as_aws_does(lab: Lab, **counts: int) -> None:
    """Publish what AWS counts of the deployed group and its target group, under the names that it gives them."""
    group = lab.deployment.group_name(FLEET, ARCHITECTURE)
    target_group = lab.deployment.target_group(FLEET, ARCHITECTURE)
    (balancer,) = target_group["LoadBalancerArns"]
    of_the_balancer = {
        "LoadBalancer": balancer.partition(":loadbalancer/")[2],
        "TargetGroup": target_group["TargetGroupArn"].rpartition(":")[2],
    }
    for name, value in counts.items():
        of_the_group = name.startswith("Group")
        dimensions = {"AutoScalingGroupName": group} if of_the_group else of_the_balancer
        Aws(lab.emulator.endpoint_url).client("cloudwatch").put_metric_data(
            Namespace="AWS/AutoScaling" if of_the_group else "AWS/NetworkELB",
            MetricData=[
                {
                    "MetricName": name,
                    "Value": value,
                    "Timestamp": datetime.now(UTC),
                    "Dimensions": [{"Name": key, "Value": each} for key, each in dimensions.items()],
                }
            ],
        )


def test_functions_that_fail_are_alarms(lab: Lab, alarms: DeployedAlarms) -> None:
    functions = Aws(lab.emulator.endpoint_url).client("lambda")
    issuer = lab.deployment.issuer_function(FLEET)
    functions.invoke(FunctionName=issuer, Payload=json.dumps({"action": "renew"}))
    assert not alarms.sounds("IssuerFails")

    for name in (issuer, lab.deployment.wake_function(FLEET)):
        answer = functions.invoke(FunctionName=name, Payload=json.dumps({"action": "nothing"}))
        assert answer["FunctionError"] == "Unhandled"

    assert alarms.sounds("IssuerFails")
    assert alarms.sounds("WakerFails")


def test_certificates_are_reported_daily_or_it_is_an_alarm(lab: Lab, alarms: DeployedAlarms) -> None:
    names = ("ServerCertificateLate", "ClientCertificateLate")
    assert [alarms.sounds(name) for name in names] == [True, True]  # nothing has been reported since

    Aws(lab.emulator.endpoint_url).client("lambda").invoke(
        FunctionName=lab.deployment.issuer_function(FLEET), Payload=json.dumps({"action": "renew"})
    )

    assert [alarms.sounds(name) for name in names] == [False, False]
