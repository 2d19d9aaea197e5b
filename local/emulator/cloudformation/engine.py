"""Puts our resources into moto's CloudFormation, and makes its stacks fail and roll back as AWS's do."""

from collections.abc import Callable
from typing import Any

from moto.cloudformation import models, parsing

from local.emulator.aws import Aws
from local.emulator.cloudformation import change_sets
from local.emulator.cloudformation.change_sets import find_change_set
from local.emulator.cloudformation.resource import Resource, ResourceError
from local.emulator.cloudformation.stack_resources import StackResources
from local.emulator.replacing import replace


def install(aws: Aws) -> None:
    """Make this process's moto create resources through `RESOURCE_TYPES`, and nothing else."""
    replace(models, "ResourceMap", type("AccountStackResources", (StackResources,), {"aws": aws}))
    change_sets.install()
    replace(parsing, "resource_class_from_type", lambda _type_name: Resource)
    replace(models.CloudFormationBackend, "execute_change_set", _execute_change_set)
    replace(models.CloudFormationBackend, "delete_stack", _reporting_failure(models.CloudFormationBackend.delete_stack))


def _execute_change_set(
    backend: models.CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    """Apply a change set: resources, outputs, exports. moto's own keeps no outputs and no exports of it.

    It is over when the call returns. What fails while a stack is created stays as it is then, for whoever looks for the
    cause; what fails in an update is rolled back.
    """
    change_set = find_change_set(backend, change_set_name, stack_name)
    stack, kind = change_set.stack, change_set.change_set_type
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")  # noqa: SLF001
    stack.resource_map.cross_stack_resources = backend.exports
    before = stack.template, stack.parameters
    try:
        _bring(stack, change_set.template, change_set.parameters)
        exports = stack.exports
    except Exception as error:  # noqa: BLE001 - whatever it is, it fails the stack
        change_set.execution_status = "EXECUTE_FAILED"
        if kind == "UPDATE":
            _roll_back(stack, *before, reason=str(error))
        else:
            stack.template, stack.parameters = before
            _end(stack, f"{kind}_FAILED", str(error))
        return
    for name in [name for name, export in backend.exports.items() if export.exporting_stack_id == stack.stack_id]:
        del backend.exports[name]
    for export in exports:
        backend.exports[export.name] = export
    change_set.execution_status = "EXECUTE_COMPLETE"
    _end(stack, f"{kind}_COMPLETE")


def _bring(stack: models.Stack, template: str | dict[str, Any], parameters: dict[str, str]) -> None:
    """Bring a stack to a template."""
    stack.template, stack.parameters = template, parameters
    stack._parse_template()  # noqa: SLF001 - moto's engine offers no other way
    stack.description = stack.template_dict.get("Description")
    stack.resource_map.update(stack.template_dict, parameters)
    stack.output_map = stack._create_output_map()  # noqa: SLF001 - likewise


def _roll_back(stack: models.Stack, template: str | dict[str, Any], parameters: dict[str, str], *, reason: str) -> None:
    _end(stack, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
    try:
        _bring(stack, template, parameters)
    except Exception as error:  # noqa: BLE001 - whatever it is, the stack stays as it is now
        _end(stack, "UPDATE_ROLLBACK_FAILED", str(error))
    else:
        _end(stack, "UPDATE_ROLLBACK_COMPLETE")


def _end(stack: models.Stack, status: str, reason: str | None = None) -> None:
    stack.status = status
    stack._add_stack_event(status, resource_status_reason=reason)  # noqa: SLF001 - likewise


def _reporting_failure(delete_stack: Callable[..., None]) -> Callable[..., None]:
    def wrapper(backend: models.CloudFormationBackend, name_or_stack_id: str) -> None:
        stack = backend.get_stack(name_or_stack_id)
        try:
            delete_stack(backend, name_or_stack_id)
        except ResourceError as error:
            backend.stacks[stack.stack_id] = stack
            _end(stack, "DELETE_FAILED", str(error))
        else:
            stack.output_map = parsing.OutputMap(stack.resource_map, {}, stack.stack_id)  # what it named is gone

    return wrapper
