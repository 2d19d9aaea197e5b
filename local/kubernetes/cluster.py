"""The builders of a deployed EKS cluster: its StatefulSets' pods, on one node that is this machine."""

import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from buildkit_ops.architecture import Architecture
from local.emulator.aws import REGION
from local.emulator.clusters import ASSOCIATION, OBJECTS
from local.kubernetes.images import Images
from local.kubernetes.network import PodNetwork
from local.kubernetes.objects import KubernetesError, Manifest, Objects, pod_of
from local.kubernetes.pod import CLAIMS, Node, Pod
from local.kubernetes.pod_identity import PodIdentityAgent
from local.lab import ARCHITECTURE, Lab
from local.toolchain import Toolchain

ACCOUNT_ADDRESS = "198.51.100.1"
"""Where pods find the emulated account: as AWS's own endpoints, it is none of the private addresses."""

_ARCHITECTURE_LABEL = "cdk-buildkit/architecture"


class Cluster:
    """Runs pods as long as the `with` block lasts, once in a sandbox.

    Args:
        lab: The deployment.
        directory: For the pods.
        toolchain: The programs that their images hold.
    """

    def __init__(self, lab: Lab, directory: Path, *, toolchain: Toolchain) -> None:
        told = lab.emulator.kubernetes()
        applied = [json.loads(each["properties"]["Manifest"]) for each in told if each["type_name"] == OBJECTS]
        self.objects = Objects(itertools.chain.from_iterable(applied))
        associated = {
            (each["properties"]["Namespace"], each["properties"]["ServiceAccount"])
            for each in told
            if each["type_name"] == ASSOCIATION
        }
        subprocess.run(["ip", "address", "add", f"{ACCOUNT_ADDRESS}/32", "dev", "lo"], check=True)
        self._lab = lab
        self._credentials: dict[tuple[str, str], Mapping[str, str]] = {}
        self._identity = PodIdentityAgent(associated, self._credentials_of, REGION)
        self.node = Node(
            objects=self.objects,
            images=Images(toolchain),
            network=PodNetwork(lab.vpc, self.objects),
            identity=self._identity,
            environment={"AWS_ENDPOINT_URL": f"http://{ACCOUNT_ADDRESS}:{lab.emulator.port}"},
            directory=directory,
        )
        self._claims = directory / CLAIMS
        self._pods: list[Pod] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        for pod in list(self._pods):
            self.lose(pod)
        self.node.network.close()
        self._identity.close()
        subprocess.run(["ip", "address", "delete", f"{ACCOUNT_ADDRESS}/32", "dev", "lo"], check=True)

    def credentials(self, fleet: str) -> Mapping[str, str]:
        """Return the credentials that the fleet's builders get from Pod Identity."""
        stateful_set = self.stateful_set(fleet)
        return self._credentials_of(
            stateful_set["metadata"]["namespace"], stateful_set["spec"]["template"]["spec"]["serviceAccountName"]
        )

    def stateful_set(self, fleet: str, architecture: Architecture = ARCHITECTURE) -> Manifest:
        """Return the StatefulSet of a fleet's builders.

        Raises:
            KubernetesError: There is none, or more than one.
        """
        found = [
            each
            for each in self.objects.of_kind("StatefulSet")
            if each["metadata"]["namespace"].endswith(f"-{fleet}")
            and each["metadata"]["labels"].get(_ARCHITECTURE_LABEL) == architecture.value
        ]
        if len(found) != 1:
            raise KubernetesError(f"the fleet {fleet} has {len(found)} StatefulSets for {architecture.value}, not one")
        return found[0]

    def boot(
        self,
        fleet: str,
        architecture: Architecture = ARCHITECTURE,
        *,
        ordinal: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Pod:
        """Start a builder, and return it when it is ready.

        Args:
            fleet: The fleet's name.
            architecture: Whose StatefulSet. The machine stays what it is.
            ordinal: Which of its pods.
            environment: What the variables that its containers declare hold instead.

        Raises:
            KubernetesError: It did not become ready.
        """
        pod = Pod(self.node, pod_of(self.stateful_set(fleet, architecture), ordinal), environment)
        self._pods.append(pod)
        pod.start()
        pod.wait_until_ready()
        return pod

    @contextmanager
    def builder(self, fleet: str) -> Iterator[Pod]:
        """Boot a builder that has built nothing before, and lose it and its store at the end."""
        pod = self.boot(fleet)
        try:
            yield pod
        finally:
            self.lose(pod)
            self.forget_stores()

    def delete(self, pod: Pod, grace: float | None = None) -> float:
        """Delete a pod, as `Pod.delete` says."""
        seconds = pod.delete(grace)
        self._pods.remove(pod)
        return seconds

    def lose(self, pod: Pod) -> None:
        """Lose a pod at once, as with its node. Its store stays."""
        self._pods.remove(pod)
        pod.remove()

    def forget_stores(self) -> None:
        """Remove every store that no pod has."""
        used = {claim for pod in self._pods for claim in pod.claims}
        for path in self._claims.iterdir() if self._claims.exists() else ():
            if path.name not in used:
                subprocess.run(["rm", "-rf", str(path)], check=True)  # hundreds of thousands of files: not in Python

    def _credentials_of(self, namespace: str, service_account: str) -> Mapping[str, str]:
        key = namespace, service_account
        if key not in self._credentials:
            self._credentials[key] = self._lab.emulator.pod_credentials(*key)
        return self._credentials[key]
