"""Finds change sets by stack and name: moto's stacks share the names of all, and the command line tool has one name."""

from contextlib import suppress

from moto.cloudformation import models
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult

from local.emulator.replacing import replace


class ChangeSetNotFoundError(ServiceException):
    """A stack has no such change set."""

    code = "ChangeSetNotFoundException"


def install() -> None:
    """Make this process's moto tell the change sets of one stack from those of another."""
    replace(CloudFormationResponse, "describe_change_set", _describe)
    replace(CloudFormationResponse, "delete_change_set", _delete)


def find_change_set(
    backend: models.CloudFormationBackend, name_or_id: str, stack_name_or_id: str | None
) -> models.ChangeSet:
    """Return a change set.

    Raises:
        ChangeSetNotFoundError: There is none.
    """
    for change_set in reversed(backend.change_sets.values()):
        if name_or_id == change_set.change_set_id:
            return change_set
        if name_or_id == change_set.change_set_name and stack_name_or_id in (
            change_set.stack_name,
            change_set.stack_id,
        ):
            return change_set
    raise ChangeSetNotFoundError(f"ChangeSet [{name_or_id}] does not exist")


def _asked_for(response: CloudFormationResponse) -> models.ChangeSet:
    name, stack = (response._get_param(each) for each in ("ChangeSetName", "StackName"))  # noqa: SLF001 - moto's way
    return find_change_set(response.cloudformation_backend, name, stack)


def _describe(response: CloudFormationResponse) -> ActionResult:
    return ActionResult(_asked_for(response))


def _delete(response: CloudFormationResponse) -> EmptyResult:
    with suppress(ChangeSetNotFoundError):  # AWS says nothing either
        del response.cloudformation_backend.change_sets[_asked_for(response).change_set_id]
    return EmptyResult()
