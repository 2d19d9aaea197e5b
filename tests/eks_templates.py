"""What the templates of fleets on EKS apply to their cluster, as Kubernetes objects in plain words."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_cdk.assertions import Template

MANIFEST = "Custom::AWSCDK-EKS-KubernetesResource"

Objects = Mapping[str, Mapping[str, Any]]
"""Kubernetes objects by kind and name: `StatefulSet/builder-arm64`."""


def applied(template: Template, readable: Callable[[Any], Any]) -> Objects:
    """Return the objects that a stack applies."""
    manifests = [each["Properties"]["Manifest"] for each in template.find_resources(MANIFEST).values()]
    objects = [each for manifest in manifests for each in json.loads(readable(manifest))]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}
