"""What a Kubernetes API server would refuse of a manifest: checked against published schemas, unknown fields refused.

Kubernetes' own objects against the schemas of one version, custom resources against their pinned definitions, the rules
in CEL that some of these have left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from local.go_modules import fetch_module
from local.manifest_tools import DEFINITIONS

UNCHECKED = {
    ("eks.amazonaws.com/v1", "NodeClass"): "AWS publishes no definition of EKS Auto Mode's own objects",
}
"""Objects for which there is no definition to be had. Nothing but their metadata is checked."""

ALIASES = {
    # Auto Mode took the object over from the open-source controller, with another group.
    ("eks.amazonaws.com/v1", "TargetGroupBinding"): ("elbv2.k8s.aws/v1beta1", "TargetGroupBinding"),
}
"""Objects that are checked against the definition of another, whose fields they have."""

Manifest = Mapping[str, Any]


class Schemas:
    """The definitions of custom resources, fetched once, and the schemas of every version."""

    def __init__(self) -> None:
        self.custom: dict[tuple[str, str], dict[str, Any]] = {}
        for module, directory in DEFINITIONS.items():
            for path in sorted((fetch_module(module) / directory).glob("*.yaml")):
                self._add(yaml.safe_load(path.read_text()))

    def problems(self, manifest: Manifest, version: str) -> list[str]:
        """Return what is wrong with a manifest for a cluster of a version."""
        kind = (manifest["apiVersion"], manifest["kind"])
        schema = self.custom.get(ALIASES.get(kind, kind))
        if schema is None and kind not in UNCHECKED:
            return self._own_problems(manifest, version)
        # An object's metadata is the same for all.
        metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest["metadata"]}
        rest = {key: each for key, each in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
        errors = jsonschema.Draft202012Validator(schema).iter_errors(rest) if schema else ()
        return [*self._own_problems(metadata, version), *map(_words, errors)]

    def _own_problems(self, manifest: Manifest, version: str) -> list[str]:
        try:
            checked = kubernetes_validate.validate(dict(manifest), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [_words(error)]
        except kubernetes_validate.SchemaNotFoundError as error:
            return [error.message]
        # For a version that it does not know it takes the one before.
        assert checked == version
        return []

    def _add(self, definition: Manifest) -> None:
        spec = definition["spec"]
        for each in spec["versions"]:
            schema = _strict(each["schema"]["openAPIV3Schema"])
            for name in ("apiVersion", "kind", "metadata"):
                schema["properties"].pop(name, None)
            self.custom[f"{spec['group']}/{each['name']}", spec["names"]["kind"]] = schema


def dictionaries(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:  # noqa: ANN401 - a part of a manifest
    """Give every object in a manifest with where it is."""
    if isinstance(value, dict):
        yield path, value
        for key, each in value.items():
            yield from dictionaries(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from dictionaries(each, (*path, index))


def _strict(schema: Any) -> Any:  # noqa: ANN401 - a part of a schema
    """Return a schema that refuses what an API server would prune."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(each) for key, each in schema.items()}
    if isinstance(strict.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def _words(error: jsonschema.ValidationError) -> str:
    return f"{'/'.join(map(str, error.absolute_path)) or '.'}: {error.message[:300]}"
