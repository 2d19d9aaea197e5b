"""What reading a resource back gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.emulator.aws import Aws


@dataclass(frozen=True)
class Found:
    """A resource as its service describes it.

    Args:
        properties: Every property that was looked at, in CloudFormation's words; None where the service has nothing.
        attributes: What Fn::GetAtt gives.
    """

    properties: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """How resources of one type are read back.

    Args:
        read: Asks the service, given the physical id and the declared properties.
        unordered: Paths of the lists whose order means nothing, without indices.
    """

    read: Callable[[Aws, str, Mapping[str, Any]], Found]
    unordered: frozenset[str] = frozenset()


def pick(source: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the named entries, None for those that are missing."""
    return {name: source.get(name) for name in names}
