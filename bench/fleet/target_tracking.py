"""Target tracking: from published values to a desired capacity, as AWS documents it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import simpy

from bench.fleet.auto_scaling_group import AutoScalingGroup
from bench.fleet.builder import Builder
from bench.fleet.timing import Timing

_LOW_DATAPOINTS = 15
_LOW_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """A target tracking policy.

    Args:
        metric: What one builder publishes.
        target: What the average of the builders should be.
        period: Seconds of one datapoint.
        warmup: Seconds in service after which a builder counts as capacity.
        scale_in: Whether it lets builders go: at 15 datapoints below nine tenths of the target, as the alarms have that
            AWS makes for a policy. Which ones is left to the group, that does not know who is busy.
    """

    metric: Callable[[Builder], float]
    target: float
    period: float
    warmup: float
    scale_in: bool


def track(
    env: simpy.Environment, group: AutoScalingGroup, tracking: Tracking, timing: Timing
) -> simpy.events.ProcessGenerator:
    """Publish, watch and scale, for as long as the simulation goes on.

    Every builder in service publishes, a new one with its first value. Builders that warm up do not count as capacity,
    but as builders that are already on their way
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html). Without
    datapoints nothing happens
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html).
    """
    high: deque[bool] = deque(maxlen=timing.alarm_datapoints)
    low: deque[bool] = deque(maxlen=_LOW_DATAPOINTS)
    scaled = -math.inf
    while True:
        yield env.timeout(tracking.period)
        publishing = group.in_service()
        if not publishing:
            high.clear()
            low.clear()
            continue
        average = sum(map(tracking.metric, publishing)) / len(publishing)
        high.append(average > tracking.target)
        low.append(average < _LOW_SHARE * tracking.target)
        alarm = len(high) == high.maxlen and all(high)
        if alarm and env.now - scaled >= timing.alarm_repeat:
            scaled = env.now
            env.process(_scale_out(env, group, tracking, average, timing.metric_delay))
        elif not alarm:
            scaled = -math.inf
        if tracking.scale_in and len(low) == low.maxlen and all(low):
            _scale_in(env, group, tracking, average)


def _scale_out(
    env: simpy.Environment, group: AutoScalingGroup, tracking: Tracking, average: float, delay: float
) -> simpy.events.ProcessGenerator:
    yield env.timeout(delay)
    wanted = math.ceil(len(_warm(env, group, tracking)) * average / tracking.target)
    if wanted > group.desired:
        group.set_desired(wanted)


def _scale_in(env: simpy.Environment, group: AutoScalingGroup, tracking: Tracking, average: float) -> None:
    warm = _warm(env, group, tracking)
    if len(warm) < len(group.builders):
        return  # blocked until every builder is warm
    wanted = max(group.min_capacity, math.ceil(len(warm) * average / tracking.target), 1)
    for builder in warm[: max(0, len(warm) - wanted)]:
        group.terminate(builder, decrement=True)


def _warm(env: simpy.Environment, group: AutoScalingGroup, tracking: Tracking) -> list[Builder]:
    return [
        each
        for each in group.builders
        if each.in_service_since is not None and env.now - each.in_service_since >= tracking.warmup
    ]
