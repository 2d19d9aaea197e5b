"""A Kubernetes object from a file in kubernetes/, which is valid as it stands, with a stack's own values put in."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parent / "kubernetes"
"""One object a file."""

_PART = re.compile(r"(?P<key>[^\[\]]+)(\[(?P<name>[^\[\]]+)\])?")


class KubernetesManifest:
    """One object, whose values are set by their paths: only where the file has a value already.

    A path is keys joined by `/`. A key is followed by `[name]` where it leads to the entry of a list that is told by
    this `name`, `key`, `topologyKey` or `metadata.name`: `spec/template/spec/containers[buildkitd]/image`. Where a key
    holds a `/` itself the path is a sequence of keys: `("metadata", "labels", "cdk-buildkit/fleet")`.

    Args:
        name: The file's name, without `.yaml`.
    """

    def __init__(self, name: str) -> None:
        self._file = f"{name}.yaml"
        self.document: dict[str, Any] = yaml.safe_load((MANIFESTS / self._file).read_text())

    def set(self, path: str | Sequence[str], value: object) -> None:
        """Put a value in the place of the one that the file has.

        Raises:
            KeyError: The file has none.
        """
        parent, key = self._parent(path)
        parent[key] = value

    def remove(self, path: str | Sequence[str]) -> None:
        """Take a value away.

        Raises:
            KeyError: The file has none.
        """
        parent, key = self._parent(path)
        del parent[key]

    def set_environment(self, path: str, values: Mapping[str, str]) -> None:
        """Set the environment variables of a container, those that the file names and no others.

        Raises:
            KeyError: They are not the same.
        """
        container = self._value(path)
        named = [each["name"] for each in container["env"]]
        unknown = sorted(set(values) - set(named))
        if unknown:
            raise KeyError(f"{self._file} has no variables {unknown} at {path}; it has {named}: add them there")
        for each in container["env"]:
            each["value"] = values.get(each["name"], each["value"])

    def _parent(self, path: str | Sequence[str]) -> tuple[Any, Any]:
        *parts, last = path.split("/") if isinstance(path, str) else path
        node = self._value(parts)
        key = self._key(node, last, path)
        if isinstance(key, tuple):
            node, key = node[key[0]], key[1]
        return node, key

    def _value(self, path: str | Sequence[str]) -> Any:  # noqa: ANN401 - a part of a document
        node: Any = self.document
        for part in path.split("/") if isinstance(path, str) else path:
            key = self._key(node, part, path)
            node = node[key[0]][key[1]] if isinstance(key, tuple) else node[key]
        return node

    def _key(self, node: Any, part: str, path: str | Sequence[str]) -> Any:  # noqa: ANN401 - a part of a document
        match = _PART.fullmatch(part)
        if match and isinstance(node, dict) and match["key"] in node:
            if not match["name"]:
                return match["key"]
            for index, entry in enumerate(node[match["key"]]):
                names = (
                    entry.get("name"),
                    entry.get("key"),
                    entry.get("topologyKey"),
                    entry.get("metadata", {}).get("name"),
                )
                if match["name"] in names:
                    return match["key"], index
        raise KeyError(f"{self._file} has nothing at {path}, where {part!r} is missing: add it there")
