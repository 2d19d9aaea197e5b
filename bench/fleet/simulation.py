"""One day of one fleet: clients, load balancer, builders and scaling, put together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import simpy

from bench.fleet.auto_scaling_group import AutoScalingGroup
from bench.fleet.builder import Builder
from bench.fleet.job import Job
from bench.fleet.load_balancer import LoadBalancer
from bench.fleet.outcome import Outcome
from bench.fleet.policy import Policy, Scaling
from bench.fleet.target_tracking import Tracking, track
from bench.fleet.timing import Timing
from bench.fleet.trace import DAY

_LONGEST_STRAGGLING = 7 * DAY
_SHORTEST_RETRY = 1.0


@dataclass(kw_only=True)
class _Request:
    job: Job
    asked: float
    waited: bool = False
    """Whether it has had a builder before."""


class Simulation:
    """A fleet under a policy.

    Args:
        policy: How it is run.
        timing: How long things take.
        seed: Of what is left to chance.
        until: When the bill ends; builds that run are waited for.
    """

    def __init__(self, policy: Policy, *, timing: Timing, seed: int, until: float = DAY) -> None:
        self.env = simpy.Environment()
        self.outcome = Outcome()
        self._policy = policy
        self._timing = timing
        self._until = until
        self._random = Random(f"clients {seed}")  # noqa: S311 - a simulation is no secret
        self._waiting = 0
        self._running: dict[Builder, dict[int, _Request]] = {}
        self._started = 0
        self.load_balancer = LoadBalancer(
            self.env,
            Random(f"flows {seed}"),  # noqa: S311
            timing=timing,
            health_check=policy.health_check,
            passes=self._passes_health_check,
        )
        self.group = AutoScalingGroup(
            self.env,
            Random(f"boots {seed}"),  # noqa: S311
            timing=timing,
            machine=policy.machine,
            load_balancer=self.load_balancer,
            min_capacity=policy.min_capacity,
            max_capacity=policy.max_capacity,
            settling=policy.settling,
            release=policy.release,
            ends_itself=policy.ends_itself,
            pool=policy.pool,
            until=until,
            on_interruption=self._lose_builds,
            spot_interruptions=policy.spot_interruptions,
        )
        if (tracking := self._tracking()) is not None:
            self.env.process(track(self.env, self.group, tracking, timing))
        if policy.idle_timeout is not None:
            self.env.process(self._retire_idle(policy.idle_timeout))

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Let the jobs come, and return what became of them.

        Args:
            jobs: In the order in which they are asked for.

        Raises:
            RuntimeError: A job neither ended nor gave up.
        """
        self.outcome.jobs = len(jobs)
        self.env.process(self._ask_for_all(jobs))
        self.env.run(until=self._until)
        while self.outcome.completed + self.outcome.refused < len(jobs):
            self.env.run(until=self.env.now + 600)
            if self.env.now > self._until + _LONGEST_STRAGGLING:
                raise RuntimeError(f"{self.outcome} has jobs that neither ended nor gave up")
        self.group.settle_bill()
        self.outcome.peak_builders = self.group.peak
        self.outcome.most_builds = max((each.most_builds for each in self.group.everyone), default=0)
        self.outcome.running_hours = self.group.running_seconds / 3600
        self.outcome.volume_hours = self.group.volume_seconds / 3600
        return self.outcome

    def _tracking(self) -> Tracking | None:
        policy = self._policy
        metrics: dict[Scaling, Callable[[Builder], float]] = {
            Scaling.BUILDS: lambda builder: builder.builds,
            Scaling.CPU: lambda builder: builder.processor.utilization,
        }
        if policy.scaling not in metrics:
            return None
        return Tracking(
            metric=metrics[policy.scaling],
            target=policy.target,
            period=policy.metric_period,
            warmup=policy.instance_warmup,
            scale_in=policy.scaling is Scaling.CPU,
        )

    def _passes_health_check(self, builder: Builder) -> bool:
        # With a check of buildkitd's port alone, a builder passes for as long as it listens.
        return builder.listens and (self._policy.max_builds is None or builder.builds < self._policy.max_builds)

    def _retire_idle(self, idle_timeout: float) -> simpy.events.ProcessGenerator:
        while True:
            yield self.env.timeout(self._policy.metric_period)
            for builder in self.group.in_service():
                idle = not builder.builds and self.env.now - builder.idle_since >= idle_timeout
                if idle and self.group.desired > self.group.min_capacity:
                    self.group.terminate(builder, decrement=True)

    def _ask_for_all(self, jobs: Sequence[Job]) -> simpy.events.ProcessGenerator:
        for job in jobs:
            if job.at > self.env.now:
                yield self.env.timeout(job.at - self.env.now)
            self._ask(_Request(job=job, asked=self.env.now))

    def _ask(self, request: _Request) -> None:
        if not self._connect(request):
            self.env.process(self._wait(request))

    def _connect(self, request: _Request) -> bool:
        builder = self.load_balancer.route()
        if builder is None or not self._accepts(builder):
            return False
        self._start(request, builder)
        return True

    def _accepts(self, builder: Builder) -> bool:
        limit = self._policy.max_connections
        return builder.listens and (limit is None or builder.builds < limit)

    def _wait(self, request: _Request) -> simpy.events.ProcessGenerator:
        patience = self._timing.waking_patience if self._policy.wakes else self._timing.client_patience
        give_up = self.env.timeout(patience)
        self._waiting += 1
        self._wake()
        connected = False
        # Each client is somewhere between two attempts when a builder comes.
        pause = self._random.uniform(0, self._timing.client_retry)
        while not (connected or give_up.processed):
            yield give_up | self.load_balancer.has_targets
            yield give_up | self.env.timeout(pause)
            connected = self._connect(request)
            pause = max(_SHORTEST_RETRY, self._timing.client_retry)
        self._waiting -= 1
        self.outcome.refused += not connected

    def _wake(self) -> None:
        if self._policy.wakes:
            wanted = math.ceil(self._waiting / self._policy.target)
            self._after(self._timing.wake, lambda: self.group.set_desired(max(self.group.desired, wanted)))

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self.env.timeout(seconds).callbacks.append(lambda _: do())

    def _start(self, request: _Request, builder: Builder) -> None:
        if not request.waited:
            self.outcome.waits.append(self.env.now - request.asked)
            request.waited = True
        warm = builder.has_layers_of(request.job.project)
        self.outcome.warm += warm
        self._started += 1
        number, started, alone = self._started, self.env.now, request.job.seconds(warm=warm)
        self._running.setdefault(builder, {})[number] = request

        def end() -> None:
            del self._running[builder][number]
            builder.remember(request.job)
            builder.build_ended()
            self.outcome.completed += 1
            self.outcome.turnarounds.append(self.env.now - request.asked)
            self.outcome.slowdowns.append((self.env.now - started) / alone)

        builder.processor.run(alone, end)
        builder.build_started()

    def _lose_builds(self, builder: Builder) -> None:
        lost = self._running.pop(builder, {})
        builder.processor.kill()
        self.outcome.lost += len(lost)
        for request in lost.values():
            self._ask(request)


def run_one_builder_per_build(jobs: Sequence[Job], *, timing: Timing, seed: int) -> Outcome:
    """Return what becomes of the jobs when each launches an instance of its own, and ends it.

    Nobody waits for a load balancer, and nobody finds layers in a local store. How many instances an account may launch
    in a minute is no limit here.
    """
    random = Random(f"boots {seed}")  # noqa: S311 - a simulation is no secret
    outcome = Outcome(jobs=len(jobs), completed=len(jobs))
    changes: list[tuple[float, int]] = []
    for job in jobs:
        spread = math.exp(random.gauss(0, timing.boot_spread))
        boot = (timing.kernel + timing.host_boot) * spread
        wait = timing.launch * spread + boot
        seconds = job.seconds(warm=False)
        outcome.waits.append(wait)
        outcome.turnarounds.append(wait + seconds)
        outcome.slowdowns.append(1.0)
        outcome.running_hours += max(60.0, boot + seconds) / 3600
        changes += [(job.at, 1), (job.at + wait + seconds, -1)]
    builders = 0
    for _, change in sorted(changes):
        builders += change
        outcome.peak_builders = max(outcome.peak_builders, builders)
    outcome.volume_hours = outcome.running_hours
    outcome.most_builds = 1 if jobs else 0
    return outcome
