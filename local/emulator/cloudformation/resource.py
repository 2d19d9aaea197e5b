"""A resource of a stack: created, changed and deleted by its type, and never by moto."""

import json
from dataclasses import dataclass
from typing import Any

from moto.cloudformation import models
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.core.common_models import CloudFormationModel

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.cloudformation import resource_type_of
from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError


class ResourceError(Exception):
    """A resource could not be created, changed or deleted; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Whether a resource outlives its place in the stack.

    Args:
        when_removed: It stays when the stack or its declaration goes: the template's DeletionPolicy.
        when_replaced: It stays when another takes its place: the template's UpdateReplacePolicy.
    """

    when_removed: bool
    when_replaced: bool


class Resource(CloudFormationModel):
    """A resource of a stack, made by the type that the template names."""

    def __init__(self, declaration: Declaration, provisioned: Provisioned, retention: Retention) -> None:
        self._declaration = declaration
        self._provisioned = provisioned
        self.retention = retention
        self.logical_resource_id = declaration.logical_id
        self.cf_resource_type = declaration.type_name
        self.physical_resource_id = provisioned.physical_id

    @classmethod
    def create(cls, declaration: Declaration, retention: Retention) -> "Resource":
        """Create the resource that is declared, and say so in the stack's events.

        Raises:
            ResourceError: The type is not emulated, or the service refuses, or a property was not looked at.
        """
        try:
            kind = _type(declaration)
            provisioned = kind.create(declaration)
            _check_all_seen(declaration)
        except Exception as error:
            raise _failure(declaration, "CREATE_FAILED", error) from error
        _add_event(declaration, "CREATE_COMPLETE", physical_id=provisioned.physical_id)
        return cls(declaration, provisioned, retention)

    def update(self, declaration: Declaration, retention: Retention) -> "Resource":
        """Bring the resource to what is declared now, and return it: with another physical id if it was replaced.

        Raises:
            ResourceError: Such resources cannot be changed here, or the service refuses, or a property was not looked
                at. Once a change has begun, a later update takes what this one wanted for the former properties.
        """
        former = self._declaration
        if declaration.properties == former.properties:
            self.retention = retention
            return self
        try:
            kind = _type(declaration)
            if kind.update is None:
                raise UnchangeableError(  # noqa: TRY301 - one path for every failure
                    "changing such a resource is not emulated: start a new emulator and deploy there"
                )
            provisioned = kind.update(declaration, former, self.physical_resource_id)
            _check_all_seen(declaration)
        except Exception as error:
            if not isinstance(error, UnchangeableError):
                self._declaration = declaration
            raise _failure(declaration, "UPDATE_FAILED", error) from error
        _add_event(declaration, "UPDATE_COMPLETE", physical_id=provisioned.physical_id)
        return type(self)(declaration, provisioned, retention)

    def delete(self) -> None:
        """Delete the resource.

        Raises:
            ResourceError: The service refuses.
        """
        try:
            _type(self._declaration).delete(self._declaration, self.physical_resource_id)
        except Exception as error:
            raise _failure(self._declaration, "DELETE_FAILED", error) from error

    def get_cfn_attribute(self, attribute_name: str) -> Any:  # noqa: ANN401 - text or a list of text
        """Return what Fn::GetAtt gives."""
        if attribute_name not in self._provisioned.attributes:
            raise UnformattedGetAttTemplateException
        return self._provisioned.attributes[attribute_name]

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:  # noqa: ARG003 - moto's interface
        """Leave it to `get_cfn_attribute` to refuse an attribute."""
        return True

    def is_created(self) -> bool:
        """Say that creation is over: it never goes on in the background."""
        return True


def _type(declaration: Declaration) -> ResourceType:
    kind = resource_type_of(declaration.type_name)
    if kind is None:
        raise ResourceError(f"{declaration.type_name} is not emulated")
    if "{{resolve:" in json.dumps(declaration.properties):
        raise ResourceError("dynamic references are not emulated")
    return kind


def _check_all_seen(declaration: Declaration) -> None:
    unseen = declaration.properties.unseen
    if unseen:
        raise ResourceError(f"{declaration.type_name} is emulated without {', '.join(unseen)}")


def _failure(declaration: Declaration, status: str, error: Exception) -> ResourceError:
    reason = f"{declaration.logical_id} ({declaration.type_name}): {error}"
    _add_event(declaration, status, reason)
    return ResourceError(reason)


def _add_event(declaration: Declaration, status: str, reason: str | None = None, *, physical_id: str = "") -> None:
    """Note in a stack's events what became of a resource."""
    stack = models.cloudformation_backends[ACCOUNT][REGION].get_stack(declaration.stack_id)
    stack.events.append(
        models.Event(
            stack.stack_id,
            stack.name,
            declaration.logical_id,
            physical_id,
            declaration.type_name,
            status,
            reason,
            None,
        )
    )
