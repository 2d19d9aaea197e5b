"""What a stack needs to know of a resource type: how to create one and how to delete it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.emulator.aws import Aws


class UnchangeableError(Exception):
    """A change of a resource is refused before anything was done; the message says which."""


class Properties(dict[str, Any]):
    """What a template declares, without intrinsic functions, and which of it has been looked at."""

    def __init__(self, declared: Mapping[str, Any]) -> None:
        super().__init__(declared)
        self._seen: set[str] = set()

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what a template may hold
        self._seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - what a template may hold
        """Return a property, or the default where it is not declared."""
        return self[name] if name in self else default  # noqa: SIM401 - it is what get() does

    @property
    def unseen(self) -> list[str]:
        """The declared properties that nobody has looked at."""
        return sorted(set(self) - self._seen)


@dataclass(frozen=True)
class Declaration:
    """A resource that a template asks for."""

    aws: Aws
    stack_id: str
    type_name: str
    logical_id: str
    properties: Properties

    def name(self, longest: int) -> str:
        """Name the resource as CloudFormation does when the template does not: stack, logical id, suffix.

        Args:
            longest: The characters that the service allows.
        """
        suffix = hashlib.sha256(f"{self.stack_id}/{self.logical_id}".encode()).hexdigest()[:12]
        room = longest - len(suffix) - 1
        tail = self.logical_id[: room - 8]
        head = self.stack_id.split("/")[1][: room - len(tail) - 1].rstrip("-")
        return f"{head}-{tail}-{suffix}"


@dataclass(frozen=True)
class Provisioned:
    """A resource that exists: what Ref gives, and what Fn::GetAtt gives by attribute."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceType:
    """How a stack creates, deletes and changes resources of one type, through the service's public interface.

    Args:
        create: Makes the resource that is declared.
        delete: Removes it, given what was declared and its physical id.
        update: Changes it, given what is declared now, what was declared before and its physical id. Another physical
            id than before says that it made another resource: the former is deleted when the stack's update is over.
            It raises UnchangeableError for what it does not begin. Default: such resources cannot be changed here.
    """

    create: Callable[[Declaration], Provisioned]
    delete: Callable[[Declaration, str], None]
    update: Callable[[Declaration, Declaration, str], Provisioned] | None = None


def only(properties: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return those of the named properties that are declared."""
    return {name: properties[name] for name in names if name in properties}
