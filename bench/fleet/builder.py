"""A builder: an instance with processors, a local store, and a place in the load balancer."""

from collections import OrderedDict
from dataclasses import dataclass

import simpy

from bench.fleet.job import Job
from bench.fleet.processor import Processor

_MAX_USED_SPACE = 0.8
"""The share of its disk that `host/buildkitd.toml` lets the store have before BuildKit collects garbage."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A gp3 volume for the store: `cdk_buildkit.StoreVolume` in plain numbers.

    Args:
        gib: Its size.
        iops: Its operations a second.
        throughput: Its MiB/s.
    """

    gib: float
    iops: int
    throughput: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one builder is.

    Args:
        instance_type: Its name, for the price.
        vcpus: Its cores.
        cores_per_build: Cores that one build keeps busy. Two, as many as the measured builds had: what they would do
            with more is not known.
        disk_bytes: Of the disk that the store is on.
        volume: That disk, where it is a volume. Default: the instance's own NVMe.
    """

    instance_type: str
    vcpus: float = 8
    cores_per_build: float = 2
    disk_bytes: float
    volume: Volume | None = None

    @property
    def store_projects(self) -> int:
        """Projects whose layers fit: the measured application has 1.72 GB of them compressed, here reckoned thrice."""
        return int(_MAX_USED_SPACE * self.disk_bytes / (3 * 1.72e9))


class Builder:
    """One instance, from its launch to its end, stays in the warm pool included.

    Attributes:
        running_since: When it began to run, or None while it is pending or stopped.
        in_service_since: When the group took it into service, or None.
        idle_since: Since when it has had no build.
        listens: Whether it takes connections.
        leaving: Whether it is on its way out of the group.
        most_builds: The most builds that it had at once.
    """

    def __init__(self, env: simpy.Environment, machine: Machine) -> None:
        self._env = env
        self._machine = machine
        self.processor = Processor(env, vcpus=machine.vcpus, cores_per_build=machine.cores_per_build)
        self._projects: OrderedDict[int, None] = OrderedDict()
        self.running_since: float | None = None
        self.in_service_since: float | None = None
        self.idle_since = env.now
        self.listens = False
        self.leaving = False
        self.most_builds = 0
        self.drained = env.event()

    @property
    def builds(self) -> int:
        """In-flight builds."""
        return self.processor.builds

    def has_layers_of(self, project: int) -> bool:
        """Tell whether the store has the project's layers."""
        return project in self._projects

    def remember(self, job: Job) -> None:
        """Take note of a build that ended: its layers are in the store, in place of those not used for longest."""
        self._projects[job.project] = None
        self._projects.move_to_end(job.project)
        if len(self._projects) > self._machine.store_projects:
            self._projects.popitem(last=False)

    def start(self) -> None:
        """Begin to serve."""
        self.in_service_since = self._env.now
        self.idle_since = self._env.now
        self.listens = True
        self.leaving = False
        self.drained = self._env.event()

    def stop_listening(self) -> None:
        """Close the listener, as SIGTERM does; `drained` happens when the last build has ended."""
        self.listens = False
        self._note_end()

    def build_started(self) -> None:
        """Count a build that begins."""
        self.most_builds = max(self.most_builds, self.builds)

    def build_ended(self) -> None:
        """Note that a build has ended."""
        if not self.builds:
            self.idle_since = self._env.now
        self._note_end()

    def _note_end(self) -> None:
        if not self.listens and not self.builds and not self.drained.triggered:
            self.drained.succeed()
