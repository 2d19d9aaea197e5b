"""The environment and the command of a container, as Kubernetes puts them together. No input or output."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from local.kubernetes.objects import KubernetesError, Manifest, Objects, check_fields, quantity

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in for `$(NAME)`; what is not known, and `$$(NAME)`, stays as Kubernetes leaves it.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """

    def put(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return variables.get(found[2], found[0])

    return _REFERENCE.sub(put, text)


def environment(
    container: Mapping[str, Any], fields: Mapping[str, str], namespace: str, objects: Objects
) -> dict[str, str]:
    """Return the variables that a container declares.

    Args:
        container: The container.
        fields: What the downward API says of its pod, by path.
        namespace: The pod's.
        objects: The cluster's, for config maps.

    Raises:
        KubernetesError: A source is missing, or not one that is known here.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        check_fields(source, {"configMapRef", "prefix"}, f"envFrom of {container['name']}")
        data = objects.get("ConfigMap", namespace, source["configMapRef"]["name"]).get("data", {})
        variables.update({source.get("prefix", "") + name: value for name, value in data.items()})
    for each in container.get("env", []):
        name = each["name"]
        if "valueFrom" in each:
            variables[name] = _from_source(each["valueFrom"], container, fields, namespace, objects)
        else:
            variables[name] = expand(each.get("value", ""), variables)
    return variables


def _from_source(
    source: Mapping[str, Any],
    container: Mapping[str, Any],
    fields: Mapping[str, str],
    namespace: str,
    objects: Objects,
) -> str:
    match source:
        case {"fieldRef": {"fieldPath": path}} if path in fields:
            return fields[path]
        case {"configMapKeyRef": {"name": name, "key": key}}:
            return str(_config_map(objects, namespace, name)[key])
        case {"resourceFieldRef": {"resource": resource, **rest}}:
            kind, name = resource.split(".")
            amount = quantity(container["resources"][kind][name])
            return str(int(-(-amount // quantity(str(rest.get("divisor", "1"))))))
    raise KubernetesError(f"{container['name']}: no meaning is known here for a variable from {source}")


def _config_map(objects: Objects, namespace: str, name: str) -> Mapping[str, str]:
    found: Manifest = objects.get("ConfigMap", namespace, name)
    data: Mapping[str, str] = found.get("data", {})
    return data


def command_line(
    container: Mapping[str, Any], variables: Mapping[str, str], *, entrypoint: Sequence[str], default: Sequence[str]
) -> list[str]:
    """Return what a container runs: `command` in place of the image's entrypoint, `args` in place of its command.

    https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
    """
    given = container.get("command")
    words = [*(given or entrypoint), *container.get("args", [] if given else default)]
    return [expand(word, variables) for word in words]
