"""A builder is replaced in the middle of a build: the build ends well, and the next one finds its layers."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.cases import FLEET, PROJECT, Cases, example_options
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import Fleet, events
from local.report import Replacement

CHANGE = ("src/page.tsx", 'weekday: "short"', 'weekday: "narrow"')
_BALANCER_PORT = 1300
_QUICK = {"SETTLING_SECONDS": "2"}
"""The stand-in for the load balancer forgets a deregistered builder within a second; AWS takes up to two minutes."""
_PATIENCE_SECONDS = 600


def replace_a_builder(lab: Lab, cases: Cases, progress: Callable[[str], None]) -> Replacement:
    """Launch a second builder, and let the group end the first while it builds.

    Raises:
        BuildError: The build was lost.
        TimeoutError: The builder did not answer its hook.
    """
    options = example_options("replacement")
    with Fleet(lab, _BALANCER_PORT, environment=_QUICK) as fleet, cases.changed(*CHANGE):
        leaving = fleet.launch()
        client = lab.client_at(FLEET, {ARCHITECTURE: fleet.address})
        in_the_middle = threading.Event()

        def started(step: str) -> None:
            if "] RUN " in step:
                in_the_middle.set()

        with ThreadPoolExecutor() as threads:
            build = threads.submit(
                cases.build, "building while the builder is replaced", client, options, started=started
            )
            while not in_the_middle.wait(0.1) and not build.done():
                pass
            fleet.launch()
            progress("ending the builder under its build")
            answer = fleet.terminate(leaving, _PATIENCE_SECONDS)
            built = build.result()
        # From its own name alone: what counts is what the drained builder has exported.
        own = cache_options(CacheScope(FLEET), cache_name(PROJECT, "replacement"))
        again = cases.build("building once more on the new builder", client, own)
    logged = events(leaving)
    return Replacement(
        build_seconds=built.seconds,
        builds_under_drain=next(each["builds"] for each in logged if each["event"] == "drain_started"),
        drain_seconds=next(each["seconds"] for each in logged if each["event"] == "drain_ended"),
        hook_answer=answer,
        killed_flows=fleet.balancer.killed_flows,
        steps=again.steps,
        cached_steps=again.cached_steps,
    )
