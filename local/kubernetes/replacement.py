"""A pod is deleted in the middle of a build, with another beside it: the build ends well, the next finds its layers."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.balancer import Balancer, HealthCheck, TargetGroupAttributes
from local.builder import BUILDKIT_PORT
from local.cases import FLEET, PROJECT, Cases, example_options
from local.kubernetes.cluster import Cluster
from local.kubernetes.pod import Pod
from local.lab import ARCHITECTURE, Lab
from local.report import Replacement
from local.vpc import GATEWAY

CHANGE = ("src/page.tsx", 'weekday: "short"', 'weekday: "narrow"')
_BALANCER_PORT = 1300
_QUICK = {"SETTLING_SECONDS": "2"}
"""The stand-in for the load balancer forgets a deregistered pod within a second; AWS takes up to two minutes."""


def replace_a_pod(lab: Lab, cluster: Cluster, cases: Cases, progress: Callable[[str], None]) -> Replacement:
    """Boot two pods of a fleet, and delete the first while it builds.

    Raises:
        BuildError: The build was lost.
    """
    options = example_options("replacement")
    deployed = lab.deployment.pod_target_group(FLEET, ARCHITECTURE)
    balancer = Balancer(
        GATEWAY,
        _BALANCER_PORT,
        TargetGroupAttributes.from_mapping(deployed.attributes),
        health_check=HealthCheck.from_target_group(deployed.description),
    )
    with cases.changed(*CHANGE):
        leaving = cluster.boot(FLEET, environment=_QUICK)
        _join(balancer, leaving)
        client = lab.client_at(FLEET, {ARCHITECTURE: f"{GATEWAY}:{_BALANCER_PORT}"})
        in_the_middle = threading.Event()

        def started(step: str) -> None:
            if "] RUN " in step:
                in_the_middle.set()

        with ThreadPoolExecutor() as threads:
            build = threads.submit(cases.build, "building while the pod is replaced", client, options, started=started)
            while not in_the_middle.wait(0.1) and not build.done():
                pass
            other = cluster.boot(FLEET, ordinal=1, environment=_QUICK)
            _join(balancer, other)
            progress("deleting the pod under its build")
            balancer.deregister(leaving.name)  # what binds the target group does, as soon as the pod is to go
            seconds = cluster.delete(leaving)
            built = build.result()
        # From its own name alone: what counts is what the drained pod has exported.
        own = cache_options(CacheScope(FLEET), cache_name(PROJECT, "replacement"))
        again = cases.build("building once more on the new pod", client, own)
    balancer.close()
    cluster.lose(other)
    return Replacement(
        build_seconds=built.seconds,
        builds_under_drain=next(each["builds"] for each in events(leaving) if each["event"] == "drain_started"),
        drain_seconds=seconds,
        hook_answer=None,
        killed_flows=balancer.killed_flows,
        steps=again.steps,
        cached_steps=again.cached_steps,
    )


def events(pod: Pod) -> list[dict[str, Any]]:
    """Return what a pod's agent has logged."""
    lines = (pod.directory / "agent.log").read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"event": ')]


def _join(balancer: Balancer, pod: Pod) -> None:
    balancer.register(pod.name, pod.address, BUILDKIT_PORT)
    balancer.wait_until_healthy(pod.name, 60)
