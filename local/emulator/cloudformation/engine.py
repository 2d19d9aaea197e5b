"""Puts our resource types into moto's CloudFormation, and makes its stacks fail as AWS's do."""

from collections.abc import Callable
from functools import cache
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.models import CloudFormationBackend, Event, Stack, cloudformation_backends
from moto.core.common_models import CloudFormationModel

from local.emulator.aws import Aws
from local.emulator.cloudformation import RESOURCE_TYPES
from local.emulator.cloudformation.resource_type import Declaration, Properties, Provisioned


class ResourceError(Exception):
    """A resource could not be created, changed or deleted; the message says which and why."""


class Resource(CloudFormationModel):  # type: ignore[misc] - moto has no types
    """A resource of a stack, made by the type in `RESOURCE_TYPES` that the template names."""

    aws: Aws
    type_name: str

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
        _: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **identity: Any,  # noqa: ANN401 - moto passes LogicalId, StackId and ResourceType
    ) -> "Resource":
        """Create the resource, and say so in the stack's events.

        Raises:
            ResourceError: The type is not emulated, or the service refuses, or a property was not looked at.
        """
        logical_id = identity["LogicalId"]
        stack = cloudformation_backends[account_id][region_name].get_stack(identity["StackId"])
        properties = Properties(cloudformation_json["Properties"])
        try:
            if cls.type_name not in RESOURCE_TYPES:
                raise ResourceError(f"{cls.type_name} is not emulated")  # noqa: TRY301 - one path for every failure
            provisioned = RESOURCE_TYPES[cls.type_name].create(
                Declaration(cls.aws, stack.name, logical_id, properties)
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
    def update_from_cloudformation_json(cls, original_resource: "Resource", **_: Any) -> None:  # noqa: ANN401
        """Refuse: whoever changes a template deploys it to a new emulator."""
        raise ResourceError(
            f"{original_resource.logical_resource_id} ({cls.type_name}): changing a resource is not emulated: "
            "start a new emulator and deploy there"
        )

    def delete(self, _account_id: str, _region_name: str) -> None:
        """Delete the resource.

        Raises:
            ResourceError: The service refuses. The stack tries again once other resources are gone.
        """
        try:
            RESOURCE_TYPES[self.type_name].delete(self.aws, self.physical_resource_id, self._properties)
        except Exception as error:  # moto takes a TypeError or an AttributeError for a missing method, and goes on
            raise ResourceError(f"{self.logical_resource_id} ({self.type_name}): {error}") from error

    @classmethod
    def has_cfn_attr(cls, _: str) -> bool:
        """Leave it to `get_cfn_attribute` to refuse an attribute."""
        return True

    def is_created(self) -> bool:
        """Say that creation is over: it never goes on in the background."""
        return True


def install(aws: Aws) -> None:
    """Make this process's moto create resources through `RESOURCE_TYPES`, and nothing else."""

    @cache
    def resource_class(type_name: str) -> type[Resource]:
        return type("Resource", (Resource,), {"aws": aws, "type_name": type_name})

    parsing.resource_class_from_type = resource_class
    CloudFormationBackend.execute_change_set = _execute_change_set
    CloudFormationBackend.delete_stack = _reporting_failure(CloudFormationBackend.delete_stack)


def _execute_change_set(backend: CloudFormationBackend, change_set_name: str, stack_name: str | None = None) -> None:
    """Apply a change set: resources, outputs, exports. moto's own keeps no outputs and no exports of it."""
    del stack_name
    change_set = backend.describe_change_set(change_set_name)
    stack, kind = change_set.stack, change_set.change_set_type
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")  # noqa: SLF001
    stack.resource_map.cross_stack_resources = backend.exports
    stack.template, stack.parameters = change_set.template, change_set.parameters
    stack._parse_template()  # noqa: SLF001 - moto's engine offers no other way
    stack.description = stack.template_dict.get("Description")
    try:
        change_set.apply()
        stack.output_map = stack._create_output_map()  # noqa: SLF001 - likewise
        exports = stack.exports
    except Exception as error:  # noqa: BLE001 - whatever it is, it fails the stack
        created = {resource.logical_resource_id for resource in _resources(stack)}
        stack.resource_map._resource_json_map = {  # noqa: SLF001 - or moto creates the rest when it is listed
            name: declared for name, declared in stack.template_dict["Resources"].items() if name in created
        }
        change_set.execution_status = "EXECUTE_FAILED"
        stack.status = f"{kind}_FAILED"
        stack._add_stack_event(stack.status, resource_status_reason=str(error))  # noqa: SLF001 - likewise
        return
    for export in exports:
        backend.exports[export.name] = export
    change_set.execution_status = "EXECUTE_COMPLETE"
    stack.status = f"{kind}_COMPLETE"
    stack._add_stack_event(stack.status)  # noqa: SLF001 - likewise


def _reporting_failure(delete_stack: Callable[..., None]) -> Callable[..., None]:
    def wrapper(backend: CloudFormationBackend, name_or_stack_id: str) -> None:
        stack = backend.get_stack(name_or_stack_id)
        try:
            delete_stack(backend, name_or_stack_id)
        except ResourceError as error:
            backend.stacks[stack.stack_id] = stack
            stack.status = "DELETE_FAILED"
            stack._add_stack_event(stack.status, resource_status_reason=str(error))  # noqa: SLF001 - likewise

    return wrapper


def _resources(stack: Stack) -> list[Resource]:
    return [each for each in stack.resource_map._parsed_resources.values() if isinstance(each, Resource)]  # noqa: SLF001


def _add_event(
    stack: Stack, logical_id: str, type_name: str, status: str, reason: str | None = None, *, physical_id: str = ""
) -> None:
    stack.events.append(Event(stack.stack_id, stack.name, logical_id, physical_id, type_name, status, reason, None))
