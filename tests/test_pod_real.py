"""Builders that are pods: their own manifests run here, with real BuildKit, and what becomes of builds in them.

Run in a sandbox: `python -m local.sandbox pytest tests/test_pod_real.py`.
"""

import itertools
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.client import Build, BuildError
from local.deployment import Deployment
from local.emulator.aws import Aws
from local.emulator.request_log import Denial, S3Request
from local.kubernetes.cluster import Cluster
from local.kubernetes.pod import Pod
from local.kubernetes.probes import Target, act
from local.kubernetes.replacement import events
from local.lab import ARCHITECTURE, Lab
from tests.pod_clients import QUICK, Builds, NewClient

pytest_plugins = ["tests.pod_fixtures"]

FLEET = "main"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[Pod]:
    """A builder that every test may use, and none may end."""
    pod = cluster.boot(FLEET, environment=QUICK)
    yield pod
    cluster.lose(pod)


NewBuilds = Callable[..., Builds]


@pytest.fixture
def new_builds(new_client: NewClient, tmp_path: Path, busybox_arguments: list[str]) -> NewBuilds:
    """What makes a client of a pod of the fleet, to build there."""

    def new_builds(pod: Pod, fleet: str = FLEET) -> Builds:
        directory = tmp_path / f"builds-{next(_numbers)}"
        directory.mkdir()
        return Builds(new_client(fleet, pod), directory, busybox_arguments)

    return new_builds


@pytest.fixture
def builds(pod: Pod, new_builds: NewBuilds) -> Builds:
    return new_builds(pod)


def health(pod: Pod, path: str) -> tuple[int, str]:
    """What a pod's agent answers, and why."""
    try:
        with urllib.request.urlopen(f"http://{pod.address}:1236{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def wait_for_builds(pod: Pod, count: int) -> None:
    until = time.monotonic() + 20
    while not health(pod, "/health")[1].startswith(f"{count} builds"):
        assert time.monotonic() < until, health(pod, "/health")
        time.sleep(0.1)


def test_a_fresh_pod_finds_what_another_has_exported_by_its_role_alone(
    lab: Lab, cluster: Cluster, builds: Builds, new_builds: NewBuilds
) -> None:
    options = cache_options(CacheScope(FLEET), cache_name("app", "main"))
    position = lab.emulator.log.position
    builds.build("true", options, number=-1)

    other = cluster.boot(FLEET, ordinal=1, environment=QUICK)
    again = new_builds(other).build("true", options, number=-1)
    cluster.lose(other)

    records = list(lab.emulator.log.since(position))
    requests = [each for each in records if isinstance(each, S3Request)]
    assert again.cached_steps == again.steps
    assert {each.access_key for each in requests} == {cluster.credentials(FLEET)["AccessKeyId"]}
    assert {each.key.partition("/")[0] for each in requests if each.method == "PUT"} == {FLEET}
    assert [each for each in records if isinstance(each, Denial)] == []


def test_a_pod_is_refused_another_fleets_scope(lab: Lab, builds: Builds) -> None:
    position, other = lab.emulator.log.position, CacheScope("pull-requests")
    builds.build("true", cache_options(other, cache_name("app", "main")))

    denied = [each for each in lab.emulator.log.since(position) if isinstance(each, Denial)]
    assert denied
    assert all(f"/{other.prefix}" in each.resource for each in denied)


def test_a_client_of_another_fleet_is_not_let_in(pod: Pod, pod_deployment: Deployment, tmp_path: Path) -> None:
    for fleet, name in (("pull-requests", "tls.crt"), ("pull-requests", "tls.key"), (FLEET, "ca.crt")):
        (tmp_path / name).write_text(pod_deployment.client_certificate(fleet)[name])
    files = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}

    command = [
        *("buildctl", f"--addr=tcp://{pod.endpoint}", "--timeout=5"),
        f"--tlsservername={pod_deployment.domain_name(FLEET)}",
        *(f"--tls{option}={tmp_path / file}" for option, file in files.items()),
        *("debug", "workers"),
    ]
    # A client that writes before it reads loses the daemon's reason at times: its connection is then merely broken.
    asked = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(10)]

    assert all(each.returncode for each in asked)
    assert any("tls" in each.stderr for each in asked)


def test_the_certificate_is_in_memory_and_the_stores_file_system_has_none(pod: Pod) -> None:
    daemon = pod.runners["buildkitd"].running

    assert daemon.execute(["stat", "-f", "-c", "%T", "/run/buildkit-tls"]).stdout.strip() == "tmpfs"
    assert daemon.execute(["sh", "-c", "ls -A /run/buildkit-tls"]).stdout.split() == ["ca.crt", "tls.crt", "tls.key"]
    assert daemon.execute(["grep", "-rl", "PRIVATE KEY", "/var/lib/buildkit"]).stdout == ""


def test_a_full_pod_is_passed_over_by_the_load_balancer_and_stays_ready(pod: Pod, builds: Builds) -> None:
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(builds.build, "sleep 6") for _ in range(4)]
        wait_for_builds(pod, 4)
        full, ready = health(pod, "/health"), health(pod, "/ready")
        assert pod.ready
        for each in running:
            each.result()

    assert full == (503, "4 builds of at most 4")
    assert ready[0] == 200
    wait_for_builds(pod, 0)


def test_running_builds_are_published_with_the_pods_role(
    lab: Lab, pod: Pod, builds: Builds, pod_deployment: Deployment
) -> None:
    since = datetime.now(UTC)
    builds.build("sleep 4")
    time.sleep(3)

    dimensions = {"Fleet": pod_deployment.domain_name(FLEET), "Architecture": ARCHITECTURE.value}
    statistics = (
        Aws(lab.emulator.endpoint_url)
        .client("cloudwatch")
        .get_metric_statistics(
            Namespace="CdkBuildkit",
            MetricName="InFlightBuilds",
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=2,
            Statistics=["Maximum"],
        )
    )
    # A period that had begun before may hold what ran before.
    assert max(each["Maximum"] for each in statistics["Datapoints"] if each["Timestamp"] >= since) == 1
    assert not [line for line in events(pod) if line["event"] == "call_failed"]


def test_the_probes_tell_a_daemon_that_answers_from_one_that_does_not(cluster: Cluster, pod: Pod) -> None:
    (container,) = cluster.stateful_set(FLEET)["spec"]["template"]["spec"]["containers"]
    daemon = pod.runners["buildkitd"].running
    target = Target(container=daemon, address=pod.address, ports={})
    probes = {kind: {**container[kind]} for kind in ("livenessProbe", "readinessProbe")}

    def results() -> dict[str, bool]:
        return {
            kind: act(
                {each: probe[each] for each in ("exec", "httpGet") if each in probe}, target, probe["timeoutSeconds"]
            )
            for kind, probe in probes.items()
        }

    assert results() == {"livenessProbe": True, "readinessProbe": True}
    daemon.signal("STOP")
    probes["livenessProbe"]["timeoutSeconds"] = 3  # a daemon that is stopped never answers
    stopped = results()
    daemon.signal("CONT")
    assert stopped == {"livenessProbe": False, "readinessProbe": False}


def test_a_daemon_that_dies_is_started_again_and_serves(cluster: Cluster, new_builds: NewBuilds) -> None:
    pod = cluster.boot(FLEET, ordinal=1, environment=QUICK)
    pod.runners["buildkitd"].running.signal("KILL")
    until = time.monotonic() + 20
    while not pod.runners["buildkitd"].restarts and time.monotonic() < until:
        time.sleep(0.1)
    pod.wait_until_ready(30)

    new_builds(pod).build("true")

    assert pod.runners["buildkitd"].restarts == 1
    cluster.lose(pod)


def test_a_fleet_that_is_scaled_to_zero_loses_no_build(cluster: Cluster, new_builds: NewBuilds) -> None:
    # A StatefulSet ends its highest ordinal first, busy or not, and asks for all of them at once.
    settling = {**QUICK, "SETTLING_SECONDS": "8"}
    with ThreadPoolExecutor() as threads:
        pods = list(threads.map(lambda ordinal: cluster.boot(FLEET, ordinal=ordinal, environment=settling), (1, 2)))
        clients = [new_builds(pod) for pod in pods]
        running: list[Future[Build]] = [threads.submit(each.build, "sleep 15") for each in clients]
        for pod in pods:
            wait_for_builds(pod, 1)
        began = time.monotonic()
        ending = [threads.submit(cluster.delete, pod) for pod in reversed(pods)]
        time.sleep(1)
        not_ready = [pod.ready for pod in pods]
        told = [health(pod, "/ready") for pod in pods]
        late = threads.submit(clients[0].build, "true")  # who has not heard of it yet
        seconds = [each.result() for each in ending]
        for build in (*running, late):
            assert build.result().steps == 2

    assert not_ready == [False, False]
    assert told == [(503, "draining: the pod is to go")] * 2
    assert 8 < max(seconds) < time.monotonic() - began < 60  # the grace period is an hour and more
    for pod in pods:
        assert {"event": "drain_started", "cause": "the pod is to go", "builds": 1} in events(pod)
        assert not [each for each in events(pod) if each["event"] == "builds_lost"]


def test_a_build_that_outlasts_the_longest_is_said_to_be_lost_before_the_kubelet_ends_it(
    cluster: Cluster, new_builds: NewBuilds
) -> None:
    pod = cluster.boot(FLEET, ordinal=1, environment={**QUICK, "LONGEST_BUILD_SECONDS": "3"})
    builds = new_builds(pod)
    with ThreadPoolExecutor() as threads:
        build = threads.submit(builds.build, "sleep 600")
        wait_for_builds(pod, 1)

        seconds = cluster.delete(pod, grace=10)

        with pytest.raises(BuildError):
            build.result()
    assert 9 < seconds < 60  # the step sleeps for ten minutes
    assert {"event": "builds_lost", "cause": "longest_build", "builds": 1} in events(pod)


def test_the_grace_period_covers_the_settling_and_the_longest_build(cluster: Cluster) -> None:
    specification = cluster.stateful_set(FLEET)["spec"]["template"]["spec"]
    (agent,) = (each for each in specification["initContainers"] if each["name"] == "agent")
    variables = {each["name"]: each["value"] for each in agent["env"]}

    drain = int(variables["SETTLING_SECONDS"]) + int(variables["LONGEST_BUILD_SECONDS"])

    assert specification["terminationGracePeriodSeconds"] > drain


def test_an_idle_pod_ends_once_it_has_settled_and_the_next_finds_its_store(
    cluster: Cluster, new_builds: NewBuilds
) -> None:
    pod = cluster.boot(FLEET, ordinal=3, environment=QUICK)
    first = new_builds(pod).build("true", number=-2)

    seconds = cluster.delete(pod)
    pod = cluster.boot(FLEET, ordinal=3, environment=QUICK)
    second = new_builds(pod).build("true", number=-2)
    cluster.lose(pod)

    assert 0 <= seconds - float(QUICK["SETTLING_SECONDS"]) < 8  # the grace period is an hour and more
    assert [first.cached_steps, second.cached_steps] == [0, 2]


def test_a_pod_on_its_nodes_own_disk_begins_with_nothing(cluster: Cluster, new_builds: NewBuilds) -> None:
    built = []
    for _ in range(2):
        pod = cluster.boot("pull-requests", environment=QUICK)
        built.append(new_builds(pod, "pull-requests").build("true", number=-3))
        cluster.lose(pod)

    assert [each.cached_steps for each in built] == [0, 0]
