"""The fleet simulator against known answers: queueing theory, sums that must hold, and single events."""

import json
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench.fleet.auto_scaling_group import AutoScalingGroup, Pool
from bench.fleet.builder import Builder, Machine
from bench.fleet.job import Change, Job
from bench.fleet.load_balancer import HealthCheck
from bench.fleet.outcome import percentile
from bench.fleet.policy import Policy, Scaling
from bench.fleet.simulation import Simulation, run_one_builder_per_build
from bench.fleet.timing import Timing
from bench.fleet.trace import DAY, TRACES, Burst, Trace

CERTAIN = Timing(boot_spread=0, client_retry=0)
FLEET = Policy(
    name="fleet",
    machine=Machine(instance_type="c7gd.2xlarge", disk_bytes=474e9),
    min_capacity=0,
    max_capacity=8,
    scaling=Scaling.BUILDS,
    target=2,
    metric_period=10,
    instance_warmup=0,
    wakes=True,
    max_builds=4,
    idle_timeout=900,
    settling=120,
    release=3600,
    ends_itself=True,
    health_check=HealthCheck(interval=5, healthy_threshold=2, unhealthy_threshold=2),
)
OFFICE = next(trace for trace in TRACES if trace.name == "office-day")
BUSY = Trace(
    name="busy",
    builds=600,
    projects=10,
    changes=OFFICE.changes,
    bursts=[Burst(at=40000, builds=200, seconds=60, projects=5, changes=OFFICE.changes)],
)


def job(at: float, seconds: float = 60, project: int = 0) -> Job:
    """Return a build that takes as long with a warm store as without."""
    return Job(at=at, project=project, change=Change.DEPENDENCIES, scale=seconds / Change.DEPENDENCIES.warm)


def exponential_jobs(count: int, *, arrival_rate: float, mean_seconds: float) -> list[Job]:
    random = Random(7)  # noqa: S311 - a simulation is no secret
    jobs, at = [], 0.0
    for _ in range(count):
        at += random.expovariate(arrival_rate)
        jobs.append(job(at, random.expovariate(1 / mean_seconds)))
    return jobs


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that a customer of an M/M/c queue finds every server busy."""
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**each / math.factorial(each) for each in range(servers)) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (4, 0.7), (8, 0.75)])
def test_one_builder_behaves_like_an_erlang_c_queue(servers: int, load: float) -> None:
    # Builds that share the cores leave as many in the system as builds that queue for them: min(n, c) are served.
    mean_seconds, arrival_rate = 10.0, load * servers / 10.0
    machine = replace(FLEET.machine, vcpus=servers, cores_per_build=1)
    policy = replace(FLEET.always_on(1), machine=machine, max_builds=None)
    jobs = exponential_jobs(60_000, arrival_rate=arrival_rate, mean_seconds=mean_seconds)

    outcome = Simulation(policy, timing=CERTAIN, seed=1, until=jobs[-1].at).run(jobs)

    waiting = erlang_c(servers, load * servers) / (servers / mean_seconds - arrival_rate)
    assert statistics.fmean(outcome.turnarounds) == pytest.approx(mean_seconds + waiting, rel=0.04)


@pytest.mark.parametrize(
    "policy",
    [
        FLEET,
        replace(FLEET, max_connections=4),
        replace(FLEET, max_capacity=1),
        replace(FLEET, min_capacity=2, ends_itself=False),
        replace(FLEET, spot_interruptions=2.0),
        replace(FLEET, pool=Pool(min_size=1, max_prepared_capacity=4, reuse_on_scale_in=True), release=0),
        FLEET.always_on(3),
        FLEET.cpu_tracking(),
    ],
    ids=["fleet", "refusing", "one", "minimum", "spot", "pool", "always-on", "cpu"],
)
def test_every_build_ends_or_gives_up_and_none_twice(policy: Policy) -> None:
    jobs = BUSY.jobs(3)

    outcome = Simulation(policy, timing=Timing(), seed=3).run(jobs)

    assert outcome.completed + outcome.refused == outcome.jobs == len(jobs)
    assert len(outcome.turnarounds) == len(outcome.slowdowns) == outcome.completed
    assert len(outcome.waits) >= outcome.completed
    assert min(outcome.slowdowns) >= 1 - 1e-9
    assert outcome.peak_builders <= policy.max_capacity


def test_a_single_build_on_an_empty_fleet_waits_for_wake_boot_and_join() -> None:
    outcome = Simulation(FLEET, timing=CERTAIN, seed=1).run([job(1000)])

    boot = CERTAIN.launch + CERTAIN.kernel + CERTAIN.host_boot
    assert outcome.waits == pytest.approx([CERTAIN.wake + boot + CERTAIN.join])
    assert outcome.turnarounds == pytest.approx([outcome.waits[0] + 60])


def test_a_builder_is_paid_for_from_running_to_the_end_of_its_drain() -> None:
    outcome = Simulation(FLEET, timing=CERTAIN, seed=1).run([job(1000)])

    served = CERTAIN.kernel + CERTAIN.host_boot + CERTAIN.join + 60
    assert outcome.running_hours * 3600 == pytest.approx(served + 900 + FLEET.settling, abs=FLEET.metric_period)


def test_only_idle_builders_retire_and_never_below_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    terminate = AutoScalingGroup.terminate
    retired: list[tuple[int, float, int]] = []

    def watch(group: AutoScalingGroup, builder: Builder, *, decrement: bool) -> None:
        env = builder._env  # noqa: SLF001 - the clock
        retired.append((builder.builds, env.now - builder.idle_since, len(group.builders)))
        terminate(group, builder, decrement=decrement)

    monkeypatch.setattr(AutoScalingGroup, "terminate", watch)
    Simulation(replace(FLEET, min_capacity=1), timing=Timing(), seed=1).run(OFFICE.jobs(1))

    assert retired
    assert all(builds == 0 and idle >= 900 and builders > 1 for builds, idle, builders in retired)


@pytest.mark.parametrize(("ends_itself", "after"), [(True, 1 + 1000), (False, 10 + 3600)])
def test_a_builder_that_is_let_go_ends_after_its_last_build_or_the_delay(after: float, *, ends_itself: bool) -> None:
    policy = replace(FLEET.always_on(1), min_capacity=0, ends_itself=ends_itself)
    simulation = Simulation(policy, timing=CERTAIN, seed=1)
    simulation.group.set_desired(1)
    boot = CERTAIN.launch + CERTAIN.kernel + CERTAIN.host_boot + CERTAIN.join
    patient = job(boot + 1, 1000)

    def let_go(_: object) -> None:
        (builder,) = simulation.group.in_service()
        simulation.group.terminate(builder, decrement=True)

    simulation.env.timeout(boot + 10).callbacks.append(let_go)
    outcome = simulation.run([patient])

    assert outcome.completed == 1
    assert outcome.running_hours * 3600 == pytest.approx(boot + after - CERTAIN.launch)


def test_a_builder_that_stops_listening_before_the_load_balancer_knows_turns_clients_away() -> None:
    # The first build's builder retires at 1200: it has been idle since 296.
    jobs = [job(0), *(job(at) for at in range(1205, 1315, 5))]

    def refused(settling: float) -> int:
        policy = replace(FLEET, settling=settling, wakes=False)
        simulation = Simulation(policy, timing=replace(CERTAIN, client_patience=240.0), seed=1)
        simulation.group.set_desired(1)
        return simulation.run(jobs).refused

    assert refused(settling=120) == 0
    assert refused(settling=0) == len(jobs) - 1


def test_a_full_fleet_fails_open() -> None:
    policy = replace(FLEET.always_on(1), max_builds=2)

    outcome = Simulation(policy, timing=CERTAIN, seed=1).run([job(at) for at in range(0, 100, 2)])

    assert outcome.most_builds > 2
    assert max(outcome.waits) == 0


def test_connections_follow_a_builders_health_once_the_load_balancer_has_seen_it() -> None:
    policy = replace(FLEET.always_on(2), max_builds=1)
    simulation = Simulation(policy, timing=CERTAIN, seed=1)
    first, second = simulation.group.in_service()
    first.processor.run(1000, lambda: None)

    def routes() -> set[Builder | None]:
        return {simulation.load_balancer.route() for _ in range(50)}

    simulation.env.run(until=2 * 5 + CERTAIN.health_spread - 1)
    before = routes()
    simulation.env.run(until=2 * 5 + CERTAIN.health_spread + 1)

    assert before == {first, second}
    assert routes() == {second}


def test_builders_that_refuse_when_full_never_have_more_than_max_connections() -> None:
    outcome = Simulation(replace(FLEET, max_connections=3), timing=Timing(), seed=1).run(BUSY.jobs(1))

    assert outcome.most_builds == 3


def test_target_tracking_adds_what_is_missing_in_one_step_and_waits_for_it() -> None:
    policy = replace(FLEET, min_capacity=1, max_capacity=20, instance_warmup=180)
    simulation = Simulation(policy, timing=CERTAIN, seed=1)
    (builder,) = simulation.group.in_service()
    for _ in range(11):
        builder.processor.run(1e6, lambda: None)
    seen = []
    for at in (30, 40, 200, 300):
        simulation.env.run(until=at)
        seen.append(simulation.group.desired)

    assert seen == [1, 6, 6, 6]


def test_cpu_tracking_scales_in_without_asking_who_is_busy() -> None:
    policy = replace(FLEET.cpu_tracking(), instance_warmup=0)
    simulation = Simulation(policy, timing=CERTAIN, seed=1)
    simulation.group.set_desired(4)

    simulation.run([job(3000, 10)])

    assert simulation.group.desired == 1


def test_a_returning_builder_starts_faster_and_has_its_store() -> None:
    policy = replace(FLEET, release=0, pool=Pool(min_size=0, max_prepared_capacity=2, reuse_on_scale_in=True))
    morning, evening = job(0), job(20_000)

    without = Simulation(replace(policy, pool=None), timing=CERTAIN, seed=1).run([morning, evening])
    outcome = Simulation(policy, timing=CERTAIN, seed=1).run([morning, evening])

    assert (without.warm, outcome.warm) == (0, 1)
    assert outcome.waits[1] == pytest.approx(
        CERTAIN.wake + CERTAIN.start + CERTAIN.kernel + CERTAIN.host_restart + CERTAIN.join
    )
    assert outcome.volume_hours > outcome.running_hours


def test_builds_that_a_spot_builder_does_not_outlive_are_lost_and_tried_again() -> None:
    outcome = Simulation(replace(FLEET, spot_interruptions=3.0), timing=Timing(), seed=1).run(BUSY.jobs(1))

    assert outcome.lost > 0
    assert outcome.completed == outcome.jobs


def test_clients_of_a_fleet_that_nobody_wakes_give_up() -> None:
    outcome = Simulation(replace(FLEET, wakes=False), timing=CERTAIN, seed=1).run([job(0), job(100)])

    assert (outcome.refused, outcome.completed, outcome.running_hours) == (2, 0, 0)


def test_builds_that_want_more_cores_than_there_are_share_them() -> None:
    machine = replace(FLEET.machine, vcpus=8, cores_per_build=2)
    policy = replace(FLEET.always_on(1), machine=machine)

    outcome = Simulation(policy, timing=CERTAIN, seed=1).run([job(0) for _ in range(8)])

    assert outcome.turnarounds == pytest.approx([120.0] * 8)


def test_the_store_forgets_the_projects_not_used_for_longest() -> None:
    machine = replace(FLEET.machine, disk_bytes=2.5 * 3 * 1.72e9 / 0.8)
    projects = [0, 1, 0, 2, 0, 1]

    outcome = Simulation(replace(FLEET.always_on(1), machine=machine), timing=CERTAIN, seed=1).run(
        [job(at * 100, project=project) for at, project in enumerate(projects)]
    )

    assert outcome.warm == 2


def test_one_builder_per_build_waits_for_a_boot_and_nothing_else() -> None:
    outcome = run_one_builder_per_build([job(0), job(10)], timing=CERTAIN, seed=1)

    boot = CERTAIN.kernel + CERTAIN.host_boot
    assert outcome.waits == pytest.approx([CERTAIN.launch + boot] * 2)
    assert outcome.running_hours * 3600 == pytest.approx(2 * (boot + 60))
    assert outcome.peak_builders == 2


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_arrivals_follow_the_shape_of_the_day(trace: Trace) -> None:
    jobs = trace.jobs(1)
    expected = trace.builds + sum(burst.builds for burst in trace.bursts)

    assert len(jobs) == pytest.approx(expected, abs=4 * math.sqrt(expected))
    assert jobs == sorted(jobs, key=lambda each: each.at)
    assert sum(trace.rate(at) for at in range(0, int(DAY), 60)) * 60 == pytest.approx(trace.builds, rel=0.01)


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    def day(seed: int) -> tuple[object, ...]:
        outcome = Simulation(FLEET, timing=Timing(), seed=seed).run(BUSY.jobs(seed))
        return (outcome.waits, outcome.turnarounds, outcome.running_hours)

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile([3, 1, 2, 4], share) for share in (0.5, 0.95, 0.25)] == [2, 4, 1]
    assert percentile([], 0.5) == 0


def test_the_command_prints_one_json_document(root: Path) -> None:
    command = [sys.executable, "-m", "bench.fleet", "--json", "--trace", "quiet-day"]

    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)

    document = json.loads(ended.stdout)
    assert {row["trace"] for row in document["rows"]} == {"quiet-day"}
    assert {"fleet", "always on", "CPU tracking, 50 %", "builder per build"} <= {
        row["policy"] for row in document["rows"]
    }
    assert all(row["dollars"] >= document["idle_dollars_a_month"] * 24 / 730 - 1 for row in document["rows"])
