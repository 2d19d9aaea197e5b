"""EKS clusters as the emulated account keeps them: what they were told, as it was declared. No control plane runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.emulator.aws import ACCOUNT, REGION

OBJECTS = "Custom::AWSCDK-EKS-KubernetesResource"
"""The type of what `kubectl` is to apply, a list in JSON in the property Manifest."""

ASSOCIATION = "AWS::EKS::PodIdentityAssociation"
"""The type of what gives a service account a role."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a cluster was told.

    Args:
        type_name: The resource's type.
        properties: As they were declared.
        attributes: What `Fn::GetAtt` gives.
    """

    type_name: str
    properties: Mapping[str, Any]
    attributes: Mapping[str, Any]


records: dict[str, Record] = {}
"""By physical id."""


def cluster_arn(name: str) -> str:
    """Return the ARN of a cluster."""
    return f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{name}"
