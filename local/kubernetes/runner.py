"""Keeps one container of a pod running, as the kubelet does: hooks, probes, restarts, its end."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.kubernetes.container import Container, node_capabilities, node_devices
from local.kubernetes.environment import command_line, environment
from local.kubernetes.images import Images
from local.kubernetes.objects import KubernetesError, Objects, check_fields
from local.kubernetes.oci import Security, oom_score_adjustment, specification
from local.kubernetes.probes import Probe, Target, act
from local.kubernetes.volumes import Volumes

LEAST_GRACE_SECONDS = 2.0
"""What a container gets to end in, however little of its pod's time is left."""

_FIELDS = {
    *("name", "image", "command", "args", "env", "envFrom", "workingDir", "ports", "volumeMounts", "resources"),
    *("securityContext", "readinessProbe", "livenessProbe", "startupProbe", "lifecycle", "restartPolicy"),
    *("imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"),
}
_FIRST_BACKOFF_SECONDS, _LAST_BACKOFF_SECONDS = 0.5, 10.0  # a kubelet begins with 10 and ends with 300
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the containers of a pod have in common.

    Args:
        objects: The cluster's objects.
        images: The images.
        namespace: The pod's.
        pod: Its `spec`.
        fields: What the downward API says of it, by path.
        address: Its address.
        namespaces: Those that its containers share, by type: the paths.
        volumes: Its volumes.
        mounts: What every container has mounted besides what it asks for.
        environment: What every container has in its environment, unless it says otherwise.
        changes: What variables that containers declare hold instead.
        directory: For its containers and their logs.
        terminating: Set when the pod is deleted.
    """

    objects: Objects
    images: Images
    namespace: str
    pod: Mapping[str, Any]
    fields: Mapping[str, str]
    address: str
    namespaces: Mapping[str, str]
    volumes: Volumes
    mounts: Sequence[Mapping[str, Any]]
    environment: Mapping[str, str]
    changes: Mapping[str, str]
    directory: Path
    terminating: threading.Event


class Runner:
    """One container of a pod, over all its restarts.

    Args:
        given: The container.
        place: Its pod.
    """

    def __init__(self, given: Mapping[str, Any], place: Place) -> None:
        self.name: str = given["name"]
        check_fields(given, _FIELDS, f"the container {self.name}")
        check_fields(given.get("lifecycle", {}), {"preStop", "postStart"}, f"lifecycle of {self.name}")
        self._given = given
        self._place = place
        self._probes: dict[str, Probe] = {}
        self._ready = False
        self._started = threading.Event()
        self._removed = threading.Event()
        self._lock = threading.Lock()
        self.restarts = 0
        self.log = place.directory / f"{self.name}.log"
        self.container: Container | None = None

    @property
    def ready(self) -> bool:
        """Whether it runs, and its readiness probe has succeeded where it has one."""
        return self._started.is_set() and self._ready and not self.running.ended.is_set()

    @property
    def running(self) -> Container:
        """The container as it runs now, or ran last.

        Raises:
            KubernetesError: It was never started.
        """
        if self.container is None:
            raise KubernetesError(f"the container {self.name} was never started")
        return self.container

    def start(self, *, again: bool = True) -> None:
        """Start it.

        Args:
            again: Whether it is started again when it ends.
        """
        self._launch()
        if again:
            threading.Thread(target=self._keep, daemon=True).start()

    def wait_until_started(self, seconds: float) -> None:
        """Wait for its startup probe, if it has one.

        Raises:
            KubernetesError: It takes longer.
        """
        if not self._started.wait(seconds):
            raise KubernetesError(f"{self.name} has not started: {self.log_tail()}")

    def wait_until_ended(self, seconds: float) -> int:
        """Wait for its end, and return its exit code.

        Raises:
            KubernetesError: It takes longer.
        """
        container = self.running
        if not container.ended.wait(seconds) or container.exit_code is None:
            raise KubernetesError(f"{self.name} has not ended: {self.log_tail()}")
        return container.exit_code

    def log_tail(self) -> str:
        """Return the end of what it has printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""

    def stop_asking(self, *, readiness: bool = False) -> None:
        """Ask no probe any more, but for readiness unless told so: a container that ends is not to be started again."""
        for kind, probe in list(self._probes.items()):
            if readiness or kind != "readinessProbe":
                probe.stop()

    def end(self, deadline: float, before: Sequence["Runner"]) -> None:
        """End it: its preStop hook, then the others' end, then SIGTERM, and SIGKILL at the deadline.

        Args:
            deadline: In the time of `time.monotonic`.
            before: Those that must have ended before.
        """
        container = self.running
        self._run_pre_stop(container, deadline - time.monotonic())
        for other in before:
            other.running.ended.wait(max(0.0, deadline - time.monotonic()))
        if not container.ended.is_set():
            container.stop(max(LEAST_GRACE_SECONDS, deadline - time.monotonic()))

    def remove(self) -> None:
        """Lose it."""
        self._removed.set()
        self.stop_asking(readiness=True)
        with self._lock:
            if self.container:
                self.container.remove()
                self.container = None

    def _run_pre_stop(self, container: Container, seconds: float) -> None:
        hook = self._given.get("lifecycle", {}).get("preStop")
        if hook and seconds > 0 and not container.ended.is_set():
            act(hook, self._target(container), seconds)

    def _target(self, container: Container) -> Target:
        ports = {each["name"]: each["containerPort"] for each in self._given.get("ports", []) if "name" in each}
        return Target(container=container, address=self._place.address, ports=ports)

    def _launch(self) -> None:
        place, given = self._place, self._given
        image = place.images.get(given["image"])
        own = environment(given, place.fields, place.namespace, place.objects)
        own |= {name: value for name, value in place.changes.items() if name in own}
        variables = {**image.environment, **place.environment, **own, "HOSTNAME": place.fields["metadata.name"]}
        security = Security.of(given, place.pod)
        name = f"{place.directory.name}-{self.name}-{next(_numbers)}"
        self.container = Container(
            name,
            specification(
                root="",
                arguments=command_line(given, own, entrypoint=image.entrypoint, default=image.command),
                variables=variables,
                directory=given.get("workingDir", image.directory),
                mounts=[*place.mounts, *place.volumes.mounts(given, own)],
                namespaces=place.namespaces,
                security=security,
                resources=given.get("resources", {}),
                oom_score=oom_score_adjustment(given, place.pod),
                cgroup=f"/cdk-buildkit-pods/{place.directory.name}/{name}",
                devices=node_devices(),
                capabilities=node_capabilities(),
            ),
            image=image,
            directory=place.directory / name,
            log=self.log,
        )
        hook = given.get("lifecycle", {}).get("postStart")
        if hook:
            act(hook, self._target(self.container), float("inf"))
        self._probes = {}
        self._ask("startupProbe", self._on_startup)

    def _ask(self, kind: str, report: Callable[[bool], None]) -> None:
        if kind not in self._given:
            report(True)  # noqa: FBT003
        else:
            self._probes[kind] = Probe(self._given[kind], self._target(self.running), report)
            self._probes[kind].start()

    def _on_startup(self, succeeded: bool) -> None:  # noqa: FBT001 - as a probe reports
        if not succeeded:
            self._end_unhealthy("startupProbe")
            return
        if "startupProbe" in self._probes:
            self._probes["startupProbe"].stop()
        self._started.set()
        self._ask("readinessProbe", self._on_readiness)
        if "livenessProbe" in self._given:
            self._ask("livenessProbe", self._on_liveness)

    def _on_readiness(self, succeeded: bool) -> None:  # noqa: FBT001
        self._ready = succeeded

    def _on_liveness(self, succeeded: bool) -> None:  # noqa: FBT001
        if not succeeded:
            self._end_unhealthy("livenessProbe")

    def _end_unhealthy(self, kind: str) -> None:
        # `_keep` starts it again.
        grace = self._given[kind].get(
            "terminationGracePeriodSeconds", self._place.pod.get("terminationGracePeriodSeconds", 30)
        )
        self.end(time.monotonic() + grace, [])

    def _keep(self) -> None:
        for backoff in _backoffs():
            self.running.ended.wait()
            self._started.clear()
            self._ready = False
            self.stop_asking(readiness=True)
            if self._removed.wait(backoff) or self._place.terminating.is_set():
                return
            with self._lock:
                if self._removed.is_set():
                    return
                self.running.remove()
                self.restarts += 1
                self._launch()


def _backoffs() -> Iterator[float]:
    seconds = _FIRST_BACKOFF_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _LAST_BACKOFF_SECONDS)
