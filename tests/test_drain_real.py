"""No build is lost: real builders drain under real builds, behind a balancer that treats flows as the template says.

Run in a sandbox: `python -m local.sandbox pytest tests/test_drain_real.py`.
"""

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from local.builder import Builder, BuilderError
from local.lab import Lab
from local.rehearsal import Fleet, events, target_group_attributes, wait_for_event
from tests.fleet_clients import Clients, losses

QUICK = {"SETTLING_SECONDS": "2", "HEARTBEAT_SECONDS": "2"}
SPOT = "meta-data/spot/instance-action"

_ports = itertools.count(1301)


def kill_drain(builder: Builder) -> None:
    """Kill the drain's process, which runs below the builder's first."""
    for process in Path("/proc").glob("[0-9]*"):
        if b"cdk_buildkit_host.drain" in (process / "cmdline").read_bytes():
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError(f"no drain runs on {builder.instance_id}")


def test_no_build_is_lost_while_builders_are_replaced_under_them(
    lab: Lab, tmp_path: Path, busybox: Path, record_property: Callable[[str, object], None]
) -> None:
    results = []
    enough = threading.Event()

    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builders = [fleet.launch(), fleet.launch()]

        def keep_building(worker: int) -> None:
            for turn in itertools.count(worker):
                if enough.is_set():
                    return
                results.append(clients.build(1 + turn * 3 % 10, buildx=worker % 3 == 0))

        with ThreadPoolExecutor() as pool:
            workers = [pool.submit(keep_building, worker) for worker in range(6)]
            answers: list[str] = []
            builds_under_drain = 0
            try:
                while len(answers) < 3 or len(results) < 50:
                    builders.append(fleet.launch())
                    leaving = builders.pop(0)
                    answers.append(fleet.terminate(leaving))
                    builds_under_drain += wait_for_event(leaving, "drain_started")["builds"]
            finally:
                enough.set()
            for worker in workers:
                worker.result()

        record_property("builds", len(results))
        record_property("drains", len(answers))
        record_property("builds_under_drain", builds_under_drain)
        assert [done.stdout[-2000:] for done in results if done.returncode] == []
        assert len(results) >= 50
        assert set(answers) == {"CONTINUE"}
        assert builds_under_drain >= 3
        assert fleet.balancer.killed_flows == 0


def test_builds_are_lost_where_flows_of_unhealthy_targets_are_terminated(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    wrong = replace(target_group_attributes(lab), terminate_unhealthy=True)
    with Fleet(lab, next(_ports), environment=QUICK, attributes=wrong) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        builds = [pool.submit(clients.build, 20) for _ in range(3)]
        time.sleep(2)

        fleet.terminate(builder)

        assert len(losses(builds)) == 3


def test_builds_are_lost_where_a_builder_does_not_settle_after_deregistration(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    hasty = {**QUICK, "SETTLING_SECONDS": "0"}
    with Fleet(lab, next(_ports), environment=hasty, propagation_seconds=8) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        fleet.launch()
        leaving = fleet.launch()
        fleet.group.start_termination(leaving)
        wait_for_event(leaving, "drain_ended")

        builds = [pool.submit(clients.build, 1) for _ in range(4)]

        assert len(losses(builds)) == 2


def test_heartbeats_keep_the_hook_waiting_until_the_build_has_ended(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    beating = {**QUICK, "HEARTBEAT_SECONDS": "4"}
    with Fleet(lab, next(_ports), environment=beating) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        build = pool.submit(clients.build, 25)
        time.sleep(2)

        answer = fleet.terminate(builder)

        calls = [call for call in fleet.group.calls if call.hook == "drain"]
        beats = [call.at for call in calls if call.action == "RecordLifecycleActionHeartbeat"]
        assert build.done()
        assert losses([build]) == []
        assert answer == "CONTINUE"
        assert len(beats) >= 3
        assert all(2 < later - earlier < 8 for earlier, later in itertools.pairwise(beats))
        assert calls[-1].action == "CompleteLifecycleAction"


def test_a_hung_build_meets_the_limit_and_is_reported(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    limited = {**QUICK, "LONGEST_BUILD_SECONDS": "5"}
    with Fleet(lab, next(_ports), environment=limited) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        build = pool.submit(clients.build, 600)
        time.sleep(2)

        answer = fleet.terminate(builder, 40)

        assert answer == "CONTINUE"
        assert len(losses([build])) == 1
        assert {"event": "builds_lost", "cause": "longest_build", "builds": 1} in events(builder)


def test_a_spot_interruption_leaves_the_target_group_and_counts_what_it_cuts(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        short, long = pool.submit(clients.build, 8), pool.submit(clients.build, 600)
        time.sleep(2)
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20))

        builder.set_metadata(SPOT, f'{{"action": "terminate", "time": "{end}"}}')

        lost = wait_for_event(builder, "builds_lost")
        assert lost == {"event": "builds_lost", "cause": "spot", "builds": 1}
        assert losses([short]) == []
        assert fleet.balancer.state(builder.instance_id) == "draining"
        assert all(call.hook != "drain" for call in fleet.group.calls)
        assert not long.done()
        fleet.end(builder)


def test_a_drain_that_is_killed_goes_on_where_it_was(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        build = pool.submit(clients.build, 25)
        time.sleep(2)
        fleet.group.start_termination(builder)
        wait_for_event(builder, "deregistered")
        time.sleep(4)  # buildkitd has its SIGTERM by now

        kill_drain(builder)

        assert fleet.group.wait_for_drain(builder) == "CONTINUE"
        assert build.done()
        assert losses([build]) == []


def test_calls_that_aws_refuses_are_made_again(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        build = pool.submit(clients.build, 15)
        time.sleep(2)
        fleet.group.refuse(4)

        answer = fleet.terminate(builder)

        assert answer == "CONTINUE"
        assert losses([build]) == []
        assert sum(not call.accepted for call in fleet.group.calls) >= 4


def test_a_builder_serves_again_after_its_stay_in_the_warm_pool(lab: Lab, tmp_path: Path, busybox: Path) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        fleet.group.start_termination(builder, "Warmed:Running")
        fleet.group.wait_for_drain(builder)

        fleet.group.return_from_pool(builder)

        assert clients.build(1).returncode == 0


def test_a_drained_builder_ends_itself_and_not_after_the_target_groups_delay(
    lab: Lab, tmp_path: Path, busybox: Path
) -> None:
    with Fleet(lab, next(_ports), environment=QUICK, waits_for_delay=True) as fleet, ThreadPoolExecutor() as pool:
        clients = Clients(lab, fleet, tmp_path, busybox)
        builder = fleet.launch()
        build = pool.submit(clients.build, 25)
        time.sleep(2)

        fleet.group.start_termination(builder)
        builder.wait_until_off(60)

        assert build.done()
        assert losses([build]) == []
        answers = [call.accepted for call in fleet.group.calls if call.action == "CompleteLifecycleAction"]
        assert answers == [True, False]


def test_a_builder_on_its_way_into_the_warm_pool_does_not_end_itself(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK, waits_for_delay=True) as fleet:
        builder = fleet.launch()
        fleet.group.start_termination(builder, "Warmed:Stopped")
        wait_for_event(builder, "drain_ended")

        with pytest.raises(subprocess.TimeoutExpired):
            builder.wait_until_off(5)


def test_a_builder_that_does_not_boot_is_abandoned(lab: Lab) -> None:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        with pytest.raises(BuilderError, match=f"got [0-9a-f]{{64}}, allowed {0:064}"):
            fleet.launch({"BUILDKIT_ARCHIVE_SHA256": "0" * 64})

        answers = [(call.action, call.hook, call.result) for call in fleet.group.calls]

        assert answers == [("CompleteLifecycleAction", "boot", "ABANDON")]
