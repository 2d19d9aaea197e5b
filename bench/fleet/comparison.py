"""A fleet and what it is compared with, on one trace: counts, times and dollars."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.fleet.auto_scaling_group import Pool
from bench.fleet.builder import Machine, Volume
from bench.fleet.job import Job
from bench.fleet.outcome import Outcome, percentile
from bench.fleet.policy import Policy, Scaling
from bench.fleet.prices import IdleBill, running_hour, volume_hour
from bench.fleet.simulation import Simulation, run_one_builder_per_build
from bench.fleet.timing import Timing
from bench.fleet.trace import Trace
from cdk_buildkit import StoreVolume

_GIB = 2**30

_STORE = StoreVolume()
_VOLUME = Volume(gib=_STORE.size.to_gibibytes(), iops=_STORE.iops, throughput=_STORE.throughput)

SPOT_INTERRUPTIONS = 0.01
"""Of one builder, an hour: some 7 in a month, where AWS's bands end with "over 20 %" of a month's instances
(https://aws.amazon.com/ec2/spot/instance-advisor/)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One policy on one trace. Times are seconds, dollars are those of one day.

    Args:
        trace: The trace.
        policy: The policy.
        builds: Builds that were asked for.
        refused: Those whose client gave up before it had a builder.
        lost: Builds that their builder did not outlive.
        wait_p50: From a job's start to its build's start; likewise the next two.
        wait_p95: See there.
        wait_p99: See there.
        turnaround_p50: From a job's start to its build's end; likewise the next.
        turnaround_p95: See there.
        slowdown_p95: How many times as long as alone on the same builder a build took.
        warm_share: The share of the builds that found their layers in the local store.
        peak_builders: The most builders at once.
        most_builds: The most builds on one builder at once.
        instance_hours: Hours of running instances.
        builder_dollars: For the builders.
        idle_dollars: For what is there without any.
    """

    trace: str
    policy: str
    builds: int
    refused: int
    lost: int
    wait_p50: float
    wait_p95: float
    wait_p99: float
    turnaround_p50: float
    turnaround_p95: float
    slowdown_p95: float
    warm_share: float
    peak_builders: int
    most_builds: int
    instance_hours: float
    builder_dollars: float
    idle_dollars: float

    @property
    def dollars(self) -> float:
        """All of it."""
        return self.builder_dollars + self.idle_dollars

    def as_json(self) -> dict[str, Any]:
        """Return it rounded, with the sum."""
        return {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in {**asdict(self), "dollars": self.dollars}.items()
        }


def compare(trace: Trace, fleet: Policy, *, idle_bill: IdleBill, timing: Timing, seed: int) -> Iterator[Row]:
    """Run the fleet, its variants and the others over the same jobs."""
    jobs = trace.jobs(seed)
    fleet = replace(fleet, max_capacity=trace.max_capacity or fleet.max_capacity)
    row = simulate(trace, jobs, fleet, idle_bill=idle_bill, timing=timing, seed=seed)
    yield row
    others = [
        *variants(fleet),
        fleet.always_on(row.peak_builders),
        fleet.cpu_tracking(),
    ]
    for policy in others:
        yield simulate(trace, jobs, policy, idle_bill=idle_bill, timing=timing, seed=seed)
    # Its clients find their instance without a load balancer.
    bill = idle_bill.without("AWS::ElasticLoadBalancingV2::LoadBalancer")
    outcome = run_one_builder_per_build(jobs, timing=timing, seed=seed)
    yield _row(trace, "builder per build", outcome, _builder_dollars(outcome, fleet.machine), bill.day)


def variants(fleet: Policy) -> Iterator[Policy]:
    """Return the fleet with what it could have."""
    from_zero = replace(fleet, name="from zero", min_capacity=0)
    yield from_zero
    yield replace(from_zero, name="from zero, until the delay ends", ends_itself=False)
    machine = replace(
        fleet.machine,
        # The same without NVMe, which a stop would empty.
        instance_type=fleet.machine.instance_type.replace("gd.", "g.").replace("id.", "i."),
        disk_bytes=_VOLUME.gib * _GIB,
        volume=_VOLUME,
    )
    pool = Pool(min_size=0, max_prepared_capacity=fleet.max_capacity, reuse_on_scale_in=True)
    yield replace(from_zero, name="from zero, warm pool", machine=machine, pool=pool)
    yield replace(fleet, name="fleet, full ones refuse", max_connections=fleet.max_builds)
    yield replace(fleet, name="fleet, spot", spot_interruptions=SPOT_INTERRUPTIONS)


def simulate(
    trace: Trace, jobs: Sequence[Job], policy: Policy, *, idle_bill: IdleBill, timing: Timing, seed: int
) -> Row:
    """Run one policy over the jobs of a trace."""
    outcome = Simulation(policy, timing=timing, seed=seed).run(jobs)
    period = policy.metric_period if policy.scaling is Scaling.BUILDS else None
    dollars = _builder_dollars(outcome, policy.machine, spot=policy.spot_interruptions > 0, metric_period=period)
    return _row(trace, policy.name, outcome, dollars, idle_bill.day)


def _builder_dollars(
    outcome: Outcome, machine: Machine, *, spot: bool = False, metric_period: float | None = None
) -> float:
    running = outcome.running_hours * running_hour(machine, spot=spot, metric_period=metric_period)
    return running + outcome.volume_hours * volume_hour(machine)


def _row(trace: Trace, policy: str, outcome: Outcome, builder_dollars: float, idle_dollars: float) -> Row:
    return Row(
        trace=trace.name,
        policy=policy,
        builds=outcome.jobs,
        refused=outcome.refused,
        lost=outcome.lost,
        wait_p50=percentile(outcome.waits, 0.50),
        wait_p95=percentile(outcome.waits, 0.95),
        wait_p99=percentile(outcome.waits, 0.99),
        turnaround_p50=percentile(outcome.turnarounds, 0.50),
        turnaround_p95=percentile(outcome.turnarounds, 0.95),
        slowdown_p95=percentile(outcome.slowdowns, 0.95),
        warm_share=outcome.warm_share,
        peak_builders=outcome.peak_builders,
        most_builds=outcome.most_builds,
        instance_hours=outcome.running_hours,
        builder_dollars=builder_dollars,
        idle_dollars=idle_dollars,
    )
