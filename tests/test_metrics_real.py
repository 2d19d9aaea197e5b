"""What builders publish: real BuildKit's own counters and records, the host's agent and role, an emulated account.

Run in a sandbox: `python -m local.sandbox pytest tests/test_metrics_real.py`.
"""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.builder import Builder, BuilderError
from local.client import BuildError, Client
from local.emulator.aws import Aws
from local.emulator.request_log import Denial
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET, Fleet

QUICK = {"SETTLING_SECONDS": "1", "HEARTBEAT_SECONDS": "2"}
MAIN = CacheScope("main")
FOREIGN = CacheScope("pull-requests")

_ports = itertools.count(1501)
_numbers = itertools.count()


class Published:
    """What the emulated CloudWatch has of the fleet since this was made."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._since = datetime.now(UTC) - timedelta(seconds=1)

    def statistics(self, metric: str) -> dict[str, float]:
        """Return SampleCount, Sum, Minimum and Maximum; none of them where nothing was published."""
        points = (
            Aws(self._lab.emulator.endpoint_url)
            .client("cloudwatch")
            .get_metric_statistics(
                Namespace="CdkBuildkit",
                MetricName=metric,
                Dimensions=[
                    {"Name": "Fleet", "Value": self._lab.deployment.domain_name(FLEET)},
                    {"Name": "Architecture", "Value": ARCHITECTURE.value},
                ],
                StartTime=self._since,
                EndTime=datetime.now(UTC) + timedelta(minutes=1),
                Period=86400,
                Statistics=["SampleCount", "Sum", "Minimum", "Maximum"],
            )["Datapoints"]
        )
        return points[0] if points else {}

    def wait_for(self, metric: str, total: float, seconds: float = 60) -> None:
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


def test_an_export_that_is_denied_and_ignored_is_one_cache_error(
    published: Published, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    client.build(context, options=cache_options(FOREIGN, cache_name("metrics", "x")), arguments=busybox_arguments)

    published.wait_for("CacheErrors", 1)
    assert published.statistics("CacheErrors")["Sum"] == 1
    assert not published.statistics("FailedBuilds")


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


def test_a_daemon_that_hangs_does_not_answer(lab: Lab, published: Published) -> None:
    with lab.builder(FLEET) as hanging:
        hanging.run("pkill", "-STOP", "-x", "buildkitd")
        published.wait_for("Unanswered", 1)


def test_builds_that_a_drain_had_to_cut_are_counted_from_its_log(
    lab: Lab, published: Published, context: Path, busybox_arguments: list[str]
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


def test_a_boot_that_fails_is_counted_from_its_console(lab: Lab, published: Published) -> None:
    with pytest.raises(BuilderError):
        lab.boot(FLEET, environment={"BUILDKIT_ARCHIVE_SHA256": "0" * 64})

    assert published.statistics("BootFailures")["Sum"] == 1
