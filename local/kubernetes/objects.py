"""Kubernetes objects as a cluster keeps them, and the pods that a StatefulSet makes of its template."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Manifest = Mapping[str, Any]

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_CLUSTER_WIDE = {"Namespace", "NodePool", "NodeClass", "StorageClass", "ClusterRole", "ClusterRoleBinding"}


class KubernetesError(Exception):
    """An object is missing, or asks for what is not done here; the message says which and what."""


class Objects:
    """The objects of a cluster, by kind, namespace and name.

    Args:
        manifests: As `kubectl apply` takes them. A later one replaces an earlier one of the same name.
    """

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._objects: dict[tuple[str, str, str], Manifest] = {}
        for manifest in manifests:
            metadata = manifest["metadata"]
            kind = manifest["kind"]
            namespace = "" if kind in _CLUSTER_WIDE else metadata.get("namespace", "default")
            self._objects[kind, namespace, metadata["name"]] = manifest

    def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return an object.

        Raises:
            KubernetesError: There is none of that name.
        """
        try:
            return self._objects[kind, namespace, name]
        except KeyError:
            known = sorted(known for k, n, known in self._objects if (k, n) == (kind, namespace))
            raise KubernetesError(f"there is no {kind} {namespace}/{name}, but {known}") from None

    def of_kind(self, kind: str, namespace: str = "") -> list[Manifest]:
        """Return the objects of a kind, in the order in which they came. Default: of every namespace."""
        return [each for (k, n, _), each in self._objects.items() if k == kind and (not namespace or n == namespace)]

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return a namespace's labels, with the one that every namespace has."""
        found = self._objects.get(("Namespace", "", namespace), {})
        return {**found.get("metadata", {}).get("labels", {}), "kubernetes.io/metadata.name": namespace}


def pod_of(stateful_set: Manifest, ordinal: int) -> Manifest:
    """Return the pod of a StatefulSet with that ordinal, its claims as volumes.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity
    """
    metadata, specification = stateful_set["metadata"], stateful_set["spec"]
    template = specification["template"]
    name = f"{metadata['name']}-{ordinal}"
    claims = [each["metadata"]["name"] for each in specification.get("volumeClaimTemplates", [])]
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}} for claim in claims]
    labels = {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(ordinal)}
    own = template["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**own.get("labels", {}), **labels},
            "annotations": own.get("annotations", {}),
        },
        "spec": {
            **template["spec"],
            "hostname": name,
            "volumes": [
                *(each for each in template["spec"].get("volumes", []) if each["name"] not in claims),
                *volumes,
            ],
        },
    }


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects what has these labels.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors

    Raises:
        KubernetesError: It has an operator that Kubernetes has not.
    """
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", []):
        name, operator, values = each["key"], each["operator"], each.get("values", [])
        match operator:
            case "In":
                fits = labels.get(name) in values
            case "NotIn":
                fits = labels.get(name) not in values
            case "Exists":
                fits = name in labels
            case "DoesNotExist":
                fits = name not in labels
            case _:
                raise KubernetesError(f"a selector has the operator {operator}")
        if not fits:
            return False
    return True


def quantity(text: str | float) -> float:
    """Return a Kubernetes quantity as a number: `512Mi` in bytes, `250m` in wholes.

    Raises:
        KubernetesError: It is none.
    """
    found = re.fullmatch(r"([0-9.]+)(m|[KMGT]i|[kMGT])?", str(text))
    if not found:
        raise KubernetesError(f"{text!r} is no quantity that is known here")
    number, unit = float(found[1]), found[2]
    return number / 1000 if unit == "m" else number * _UNITS.get(unit or "", 1)


def check_fields(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse what would be passed over in silence.

    Raises:
        KubernetesError: There is a field that is not among the known ones.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise KubernetesError(f"{where}: no meaning is known here for {', '.join(unknown)}")
