"""Puts our resources into moto's CloudFormation, and makes its stacks fail as AWS's do."""

from collections.abc import Callable
from functools import cache

from moto.cloudformation import models, parsing

from local.emulator.aws import Aws
from local.emulator.cloudformation.resource import Resource, ResourceError
from local.emulator.replacing import replace


def install(aws: Aws) -> None:
    """Make this process's moto create resources through `RESOURCE_TYPES`, and nothing else."""

    @cache
    def resource_class(type_name: str) -> type[Resource]:
        return type("Resource", (Resource,), {"aws": aws, "type_name": type_name})

    replace(parsing, "resource_class_from_type", resource_class)
    replace(parsing.ResourceMap, "resources", property(_made))
    replace(parsing.ResourceMap, "delete", _delete_resources)
    replace(parsing.ResourceMap, "_delete_resource", lambda _, resource, __: resource.delete())  # during updates
    replace(models.CloudFormationBackend, "execute_change_set", _execute_change_set)
    replace(models.CloudFormationBackend, "delete_stack", _reporting_failure(models.CloudFormationBackend.delete_stack))


def _execute_change_set(
    backend: models.CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    """Apply a change set: resources, outputs, exports. moto's own keeps no outputs and no exports of it."""
    del stack_name
    change_set = backend.describe_change_set(change_set_name)
    assert change_set is not None  # noqa: S101 - moto raises where there is none
    stack, kind = change_set.stack, change_set.change_set_type
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")  # noqa: SLF001
    stack.resource_map.cross_stack_resources = backend.exports
    before = stack.template, stack.parameters
    stack.template, stack.parameters = change_set.template, change_set.parameters
    stack._parse_template()  # noqa: SLF001 - moto's engine offers no other way
    stack.description = stack.template_dict.get("Description")
    try:
        change_set.apply()
        stack.output_map = stack._create_output_map()  # noqa: SLF001 - likewise
        exports = stack.exports
    except Exception as error:  # noqa: BLE001 - whatever it is, it fails the stack
        stack.template, stack.parameters = before
        change_set.execution_status = "EXECUTE_FAILED"
        stack.status = f"{kind}_FAILED"
        stack._add_stack_event(stack.status, resource_status_reason=str(error))  # noqa: SLF001 - likewise
        return
    for export in exports:
        backend.exports[export.name] = export
    change_set.execution_status = "EXECUTE_COMPLETE"
    stack.status = f"{kind}_COMPLETE"
    stack._add_stack_event(stack.status)  # noqa: SLF001 - likewise


def _made(resource_map: parsing.ResourceMap) -> list[str]:
    """Return the logical ids of what a stack has made, in that order. To moto, listing a resource is to create it."""
    made = dict(resource_map._parsed_resources)  # noqa: SLF001 - likewise
    return [logical_id for logical_id, resource in made.items() if isinstance(resource, Resource)]


def _delete_resources(resource_map: parsing.ResourceMap) -> None:
    """Delete a stack's resources, the last first: what others refer to was made before them. moto's order is random."""
    for logical_id in reversed(_made(resource_map)):
        resource = resource_map[logical_id]
        assert isinstance(resource, Resource)  # noqa: S101 - see _made
        declared = resource_map._resource_json_map[logical_id]  # noqa: SLF001 - likewise
        if not declared.get("DeletionPolicy", "").startswith("Retain"):
            resource.delete()
        del resource_map._parsed_resources[logical_id]  # noqa: SLF001 - likewise


def _reporting_failure(delete_stack: Callable[..., None]) -> Callable[..., None]:
    def wrapper(backend: models.CloudFormationBackend, name_or_stack_id: str) -> None:
        stack = backend.get_stack(name_or_stack_id)
        try:
            delete_stack(backend, name_or_stack_id)
        except ResourceError as error:
            backend.stacks[stack.stack_id] = stack
            stack.status = "DELETE_FAILED"
            stack._add_stack_event(stack.status, resource_status_reason=str(error))  # noqa: SLF001 - likewise
        else:
            stack.output_map = parsing.OutputMap(stack.resource_map, {}, stack.stack_id)  # what it named is gone

    return wrapper
