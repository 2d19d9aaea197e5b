"""A pod: its containers started, asked, started again and ended in the order that Kubernetes gives them."""

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.builder import BUILDKIT_PORT
from local.kubernetes.images import Images
from local.kubernetes.namespaces import Namespaces
from local.kubernetes.network import PodNetwork
from local.kubernetes.network_policy import Member
from local.kubernetes.objects import KubernetesError, Manifest, Objects, check_fields
from local.kubernetes.pod_identity import TOKEN_DIRECTORY, TOKEN_FILE, PodIdentityAgent
from local.kubernetes.runner import Place, Runner
from local.kubernetes.volumes import Volumes

_FIELDS = {
    *("containers", "initContainers", "volumes", "restartPolicy", "terminationGracePeriodSeconds"),
    *("serviceAccountName", "automountServiceAccountToken", "securityContext", "hostname", "enableServiceLinks"),
    # Where it runs, and who goes first: there is one node here.
    *("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName", "subdomain"),
    *("dnsPolicy", "os"),
}
CLAIMS = "claims"
"""The directory beside the pods' with what outlives them."""

_WITHOUT_API = "automountServiceAccountToken must be false: there is no Kubernetes API here"
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Node:
    """What pods find where they run.

    Args:
        objects: The cluster's objects.
        images: The images.
        network: The pods' network.
        identity: The Pod Identity agent.
        environment: What every container finds in its environment besides, as it runs on this machine.
        directory: For the pods.
    """

    objects: Objects
    images: Images
    network: PodNetwork
    identity: PodIdentityAgent
    environment: Mapping[str, str]
    directory: Path


class Pod:
    """One pod, from the moment it is scheduled. `delete` ends it as the API's deletion would.

    Args:
        node: Where it runs.
        manifest: What it is.
        environment: What the variables that its containers declare hold instead.
    """

    def __init__(self, node: Node, manifest: Manifest, environment: Mapping[str, str] | None = None) -> None:
        self.name: str = manifest["metadata"]["name"]
        self.namespace: str = manifest["metadata"]["namespace"]
        self._specification = manifest["spec"]
        self._node = node
        check_fields(self._specification, _FIELDS, f"the pod {self.name}")
        if self._specification.get("automountServiceAccountToken", True):
            raise KubernetesError(f"the pod {self.name}: {_WITHOUT_API}")
        number = next(_numbers)
        self._interface = f"pod{number}"
        self.directory = node.directory / f"{self.name}-{number}"
        self.directory.mkdir(parents=True)
        self.address = node.network.next_address()
        self.terminating = threading.Event()
        service_account = self._specification.get("serviceAccountName", "default")
        self.token = node.identity.new_token(self.namespace, service_account)
        labels = manifest["metadata"].get("labels", {})
        self._sandbox = Namespaces(self.name)
        node.network.connect(
            self._sandbox.process_id,
            self._interface,
            Member(namespace=self.namespace, labels=labels, address=self.address, ports=self._ports()),
        )
        volumes = Volumes(
            self._specification,
            self.namespace,
            node.objects,
            directory=self.directory / "volumes",
            claims=node.directory / CLAIMS,
        )
        if self.token:
            volumes.add(TOKEN_FILE, {TOKEN_FILE: self.token})
        self._volumes = volumes
        self._place = Place(
            objects=node.objects,
            images=node.images,
            namespace=self.namespace,
            pod=self._specification,
            fields=self._fields(manifest),
            address=self.address,
            namespaces=self._sandbox.paths,
            volumes=volumes,
            mounts=self._mounts(),
            environment={**(node.identity.variables() if self.token else {}), **node.environment},
            changes=environment or {},
            directory=self.directory,
            terminating=self.terminating,
        )
        self.runners: dict[str, Runner] = {}

    @property
    def process_id(self) -> int:
        """A process in its network namespace that does nothing."""
        return self._sandbox.process_id

    @property
    def endpoint(self) -> str:
        """Where buildkitd listens."""
        return f"{self.address}:{BUILDKIT_PORT}"

    @property
    def claims(self) -> list[str]:
        """The names of its claims."""
        volumes = self._specification.get("volumes", [])
        return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]

    @property
    def ready(self) -> bool:
        """Whether its containers are, sidecars included. A pod that is deleted is no longer sent anything."""
        wanted = [*self._sidecars, *self._containers]
        return (
            not self.terminating.is_set()
            and len(self.runners) >= len(wanted)
            and all(each["name"] in self.runners and self.runners[each["name"]].ready for each in wanted)
        )

    def start(self, seconds: float = 120) -> None:
        """Start the init containers one after the other, then the others.

        Raises:
            KubernetesError: An init container failed or took longer.
        """
        until = time.monotonic() + seconds
        for container in self._specification.get("initContainers", []):
            runner = self.runners[container["name"]] = Runner(container, self._place)
            if container.get("restartPolicy") == "Always":
                runner.start()
                runner.wait_until_started(until - time.monotonic())
            else:
                runner.start(again=False)
                code = runner.wait_until_ended(until - time.monotonic())
                if code:
                    raise KubernetesError(
                        f"{self.name}: {container['name']} ended with code {code}: {runner.log_tail()}"
                    )
        for container in self._containers:
            self.runners[container["name"]] = Runner(container, self._place)
            self.runners[container["name"]].start()

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Wait until it may be sent builds.

        Raises:
            KubernetesError: It is not ready in time.
        """
        until = time.monotonic() + seconds
        while not self.ready:
            if time.monotonic() > until:
                words = "\n".join(f"{name}: {each.log_tail()}" for name, each in self.runners.items())
                raise KubernetesError(f"the pod {self.name} is not ready after {seconds:g} s:\n{words}")
            time.sleep(0.05)

    def delete(self, grace: float | None = None) -> float:
        """Delete it, and return the seconds that it took to end.

        Every preStop hook begins at once; a container gets SIGTERM when its own is over, a sidecar when the containers
        and the sidecars after it have ended besides. When the grace period is over, what is left is killed.

        Args:
            grace: Seconds. Default: the pod's own.
        """
        began = time.monotonic()
        self.terminating.set()
        given = self._specification.get("terminationGracePeriodSeconds", 30) if grace is None else grace
        deadline = began + given
        for runner in self.runners.values():
            runner.stop_asking()
        order: list[Runner] = []
        waits: list[tuple[Runner, Sequence[Runner]]] = []
        for container in self._containers:
            order.append(self.runners[container["name"]])
            waits.append((order[-1], []))
        for container in reversed(self._sidecars):
            runner = self.runners[container["name"]]
            waits.append((runner, list(order)))
            order.append(runner)
        with ThreadPoolExecutor(max_workers=len(waits) or 1) as threads:
            for ending in [threads.submit(each.end, deadline, before) for each, before in waits]:
                ending.result()
        took = time.monotonic() - began
        self.remove()
        return took

    def remove(self) -> None:
        """Lose it at once, as with its node, but for its logs and its claims."""
        self.terminating.set()
        for runner in self.runners.values():
            runner.remove()
        self._sandbox.end()
        self._node.network.disconnect(self._interface)
        if self.token:
            self._node.identity.forget(self.token)
        self._volumes.remove()

    def inside(self) -> list[str]:
        """Return the words that run a command of this machine in the pod's network."""
        return ["nsenter", "--net", f"--target={self.process_id}"]

    @property
    def _containers(self) -> list[Mapping[str, Any]]:
        return list(self._specification["containers"])

    @property
    def _sidecars(self) -> list[Mapping[str, Any]]:
        return [each for each in self._specification.get("initContainers", []) if each.get("restartPolicy") == "Always"]

    def _ports(self) -> dict[str, int]:
        return {
            port["name"]: port["containerPort"]
            for container in [*self._sidecars, *self._containers]
            for port in container.get("ports", [])
            if "name" in port
        }

    def _fields(self, manifest: Manifest) -> dict[str, str]:
        metadata = manifest["metadata"]
        labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
        return {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": f"{self.namespace}-{self.name}",
            "status.podIP": self.address,
            "spec.nodeName": "node",
            "spec.serviceAccountName": self._specification.get("serviceAccountName", "default"),
            **{f"metadata.labels['{name}']": value for name, value in labels.items()},
            **{f"metadata.annotations['{name}']": value for name, value in annotations.items()},
        }

    def _mounts(self) -> list[dict[str, Any]]:
        hosts = self.directory / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        hostname = self.directory / "hostname"
        hostname.write_text(f"{self.name}\n")
        resolver = self.directory / "resolv.conf"
        resolver.write_text(Path("/etc/resolv.conf").read_text())
        files = {"/etc/hosts": hosts, "/etc/hostname": hostname, "/etc/resolv.conf": resolver}
        options = ["rbind", "rprivate", "rw"]
        mounts = [
            {"destination": path, "type": "bind", "source": str(file), "options": options}
            for path, file in files.items()
        ]
        if self.token:
            found = self._volumes.mounts(
                {"name": "", "volumeMounts": [{"name": TOKEN_FILE, "mountPath": TOKEN_DIRECTORY}]}, {}
            )
            mounts.extend(found)
        return mounts
