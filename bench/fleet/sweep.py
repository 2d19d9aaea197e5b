"""The fleet with other parameters, one or two at a time: what its defaults are chosen from."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from bench.fleet.comparison import Row, simulate
from bench.fleet.policy import Policy
from bench.fleet.prices import IdleBill
from bench.fleet.timing import Timing
from bench.fleet.trace import Trace

TARGETS = (1, 2, 3, 4)
MAX_BUILDS = (4, 6, 8)
IDLE_TIMEOUTS = (300, 600, 900, 1800)
MIN_CAPACITIES = (0, 1)


def sweep(trace: Trace, fleet: Policy, *, idle_bill: IdleBill, timing: Timing, seed: int) -> Iterator[Row]:
    """Run the fleet over the same jobs with each target and limit; then with each timeout and minimum."""
    jobs = trace.jobs(seed)
    fleet = replace(fleet, max_capacity=trace.max_capacity or fleet.max_capacity)
    for policy in _policies(fleet):
        yield simulate(trace, jobs, policy, idle_bill=idle_bill, timing=timing, seed=seed)


def _policies(fleet: Policy) -> Iterator[Policy]:
    for target, max_builds in product(TARGETS, MAX_BUILDS):
        limit = max_builds if fleet.max_connections else None
        yield replace(
            fleet,
            name=f"target {target}, max_builds {max_builds}",
            target=target,
            max_builds=max_builds,
            max_connections=limit,
        )
    for min_capacity, idle_timeout in product(MIN_CAPACITIES, IDLE_TIMEOUTS):
        yield replace(
            fleet,
            name=f"min_capacity {min_capacity}, idle_timeout {idle_timeout // 60} min",
            idle_timeout=idle_timeout,
            min_capacity=min_capacity,
        )
