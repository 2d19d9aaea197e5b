"""What it takes to read a resource back, and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Account:
    """The account that is read back.

    Args:
        client: Gives the client of a service.
        physical_ids: Those of every resource in every stack.
    """

    client: Callable[[str], Any]
    physical_ids: frozenset[str]


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
        closed: Properties that are compared even when they are not declared: then the service must have nothing.
    """

    read: Callable[[Account, str, Mapping[str, Any]], Found]
    unordered: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()


def pick(source: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the named entries, None for those that are missing."""
    return {name: source.get(name) for name in names}


def without_nothing(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are not None."""
    return {name: value for name, value in source.items() if value is not None}
