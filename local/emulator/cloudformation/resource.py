"""A resource of a stack: created and deleted by its type, and never by moto."""

import json
from typing import Any

from moto.cloudformation import models
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.core.common_models import CloudFormationModel

from local.emulator.aws import Aws
from local.emulator.cloudformation import RESOURCE_TYPES
from local.emulator.cloudformation.resource_type import Declaration, Properties, Provisioned


class ResourceError(Exception):
    """A resource could not be created, changed or deleted; the message says which and why."""


class Resource(CloudFormationModel):
    """A resource of a stack, made by the type in `RESOURCE_TYPES` that the template names."""

    aws: Aws
    type_name: str
    logical_resource_id: str  # set by moto

    def __init__(self, provisioned: Provisioned, properties: Properties) -> None:
        self.physical_resource_id = provisioned.physical_id
        self._attributes = provisioned.attributes
        self._properties = properties

    def get_cfn_attribute(self, attribute_name: str) -> Any:  # noqa: ANN401 - text or a list of text
        """Return what Fn::GetAtt gives."""
        if attribute_name not in self._attributes:
            raise UnformattedGetAttTemplateException
        return self._attributes[attribute_name]

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003 - names are made by `Declaration.name`
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ANN401 - moto passes LogicalId, StackId and ResourceType
    ) -> "Resource":
        """Create the resource, and say so in the stack's events.

        Raises:
            ResourceError: The type is not emulated, or the service refuses, or a property was not looked at.
        """
        logical_id = kwargs["LogicalId"]
        stack = models.cloudformation_backends[account_id][region_name].get_stack(kwargs["StackId"])
        properties = Properties(_without_nothing(cloudformation_json["Properties"]))
        try:
            if cls.type_name not in RESOURCE_TYPES:
                raise ResourceError(f"{cls.type_name} is not emulated")  # noqa: TRY301 - one path for every failure
            if "{{resolve:" in json.dumps(properties):
                raise ResourceError("dynamic references are not emulated")  # noqa: TRY301 - likewise
            provisioned = RESOURCE_TYPES[cls.type_name].create(
                Declaration(cls.aws, stack.stack_id, logical_id, properties)
            )
            if properties.unseen:
                unseen = ", ".join(properties.unseen)
                raise ResourceError(f"{cls.type_name} is emulated without {unseen}")  # noqa: TRY301 - likewise
        except Exception as error:
            reason = f"{logical_id} ({cls.type_name}): {error}"
            _add_event(stack, logical_id, cls.type_name, "CREATE_FAILED", reason)
            raise ResourceError(reason) from error
        _add_event(stack, logical_id, cls.type_name, "CREATE_COMPLETE", physical_id=provisioned.physical_id)
        return cls(provisioned, properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "Resource",
        new_resource_name: str,  # noqa: ARG003 - moto's interface
        cloudformation_json: dict[str, Any],  # noqa: ARG003 - likewise
        account_id: str,  # noqa: ARG003 - likewise
        region_name: str,  # noqa: ARG003 - likewise
    ) -> "Resource":
        """Refuse: whoever changes a template deploys it to a new emulator.

        Raises:
            ResourceError: Always.
        """
        raise ResourceError(
            f"{original_resource.logical_resource_id} ({cls.type_name}): changing a resource is not emulated: "
            "start a new emulator and deploy there"
        )

    def delete(self) -> None:
        """Delete the resource.

        Raises:
            ResourceError: The service refuses.
        """
        try:
            RESOURCE_TYPES[self.type_name].delete(self.aws, self.physical_resource_id, self._properties)
        except Exception as error:
            raise ResourceError(f"{self.logical_resource_id} ({self.type_name}): {error}") from error

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:  # noqa: ARG003 - moto's interface
        """Leave it to `get_cfn_attribute` to refuse an attribute."""
        return True

    def is_created(self) -> bool:
        """Say that creation is over: it never goes on in the background."""
        return True


def _without_nothing(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave out list elements that are AWS::NoValue, which moto leaves in."""
    if isinstance(value, dict):
        return {name: _without_nothing(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nothing(each) for each in value if each is not None]
    return value


def _add_event(
    stack: models.Stack,
    logical_id: str,
    type_name: str,
    status: str,
    reason: str | None = None,
    *,
    physical_id: str = "",
) -> None:
    """Note in a stack's events what became of a resource."""
    stack.events.append(
        models.Event(stack.stack_id, stack.name, logical_id, physical_id, type_name, status, reason, None)
    )
