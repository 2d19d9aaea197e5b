"""The Kubernetes objects that a synthesized template applies."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from cdk_buildkit.kubernetes_manifest import MANIFESTS

VALUES = ("keda-values", "runner-controller-values", "runner-scale-set-values")
"""Files beside the manifests that are none: what a Helm chart is told."""


def manifest_files() -> dict[str, dict[str, Any]]:
    """Return the objects of the files, by the file's name."""
    return {
        path.stem: yaml.safe_load(path.read_text())
        for path in sorted(MANIFESTS.glob("*.yaml"))
        if path.stem not in VALUES
    }


def template_manifests(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a template, with the names of resources where a deployment would put their values."""
    return [
        manifest
        for resource in template.get("Resources", {}).values()  # a network that is given has none
        if resource["Type"] == "Custom::AWSCDK-EKS-KubernetesResource"
        for manifest in json.loads(_text(resource["Properties"]["Manifest"]))
    ]


def images(manifest: Mapping[str, Any]) -> list[str]:
    """Return the images of an object's containers."""
    found = [manifest["image"]] if isinstance(manifest.get("image"), str) else []
    for value in manifest.values():
        for each in value if isinstance(value, list) else [value]:
            found += images(each) if isinstance(each, dict) else []
    return found


def _text(value: Any) -> str:  # noqa: ANN401 - a part of a template
    match value:
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter.join(map(_text, parts)))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"{resource}-{attribute}"
        case {"Ref": name} | {"Fn::ImportValue": name}:
            return str(name).replace("::", "-")
        case str():
            return value
    raise ValueError(f"a manifest holds text and references; got {value!r}")
