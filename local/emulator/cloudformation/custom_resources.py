"""Custom resources: CloudFormation's requests to the functions that provide them, and their answers.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.emulator.cloudformation.answers import awaited_answer
from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError

CUSTOM_RESOURCE = "AWS::CloudFormation::CustomResource"

_LONGEST_TIMEOUT = 3600
_LONGEST_ANSWER = 4096


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a custom resource's function was last asked for, and has answered to have done.

    Args:
        physical_id: Its physical id.
        properties: As they were sent.
        attributes: What `Fn::GetAtt` gives.
    """

    physical_id: str
    properties: Mapping[str, Any]
    attributes: Mapping[str, Any]


records: dict[tuple[str, str], Record] = {}
"""By stack and logical id."""


def _create(declaration: Declaration) -> Provisioned:
    return _provide(declaration, "Create", {})


def _update(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    if declaration.properties["ServiceToken"] != former.properties["ServiceToken"]:
        raise UnchangeableError("Modifying service token is not allowed.")
    return _provide(
        declaration,
        "Update",
        {"PhysicalResourceId": physical_id, "OldResourceProperties": _as_sent(dict(former.properties))},
    )


def _delete(declaration: Declaration, physical_id: str) -> None:
    _ask(declaration, "Delete", {"PhysicalResourceId": physical_id})
    key = declaration.stack_id, declaration.logical_id
    if key in records and records[key].physical_id == physical_id:
        del records[key]


def _provide(declaration: Declaration, request_type: str, more: Mapping[str, Any]) -> Provisioned:
    answer = _ask(declaration, request_type, more)
    attributes = answer.get("Data") or {}
    physical_id = answer["PhysicalResourceId"]
    records[declaration.stack_id, declaration.logical_id] = Record(
        physical_id=physical_id, properties=_sent_properties(declaration), attributes=attributes
    )
    return Provisioned(physical_id, attributes)


def _ask(declaration: Declaration, request_type: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send a request to the function, and return its answer.

    Raises:
        ValueError: There is no answer in time, it is not one that CloudFormation accepts, or it says that the work
            failed.
    """
    properties = _sent_properties(declaration)
    request = {
        "RequestType": request_type,
        "StackId": declaration.stack_id,
        "RequestId": str(uuid.uuid4()),
        "ResourceType": declaration.type_name,
        "LogicalResourceId": declaration.logical_id,
        "ResourceProperties": properties,
        **more,
    }
    with awaited_answer() as awaited:
        declaration.aws.client("lambda").invoke(
            FunctionName=properties["ServiceToken"],
            InvocationType="Event",
            Payload=json.dumps(request | {"ResponseURL": f"{declaration.aws.endpoint_url}{awaited.path}"}).encode(),
        )
        content = awaited.wait(int(properties.get("ServiceTimeout", _LONGEST_TIMEOUT)))
    if content is None:
        raise ValueError(
            "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId "
            f"[{request['RequestId']}]."
        )
    return _checked(content, request)


def _checked(content: bytes, request: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(content) > _LONGEST_ANSWER:
        raise ValueError("Response object is too long.")
    answer: Mapping[str, Any] = json.loads(content)
    wrong = [name for name in ("StackId", "RequestId", "LogicalResourceId") if answer.get(name) != request[name]]
    if wrong:
        raise ValueError(f"Invalid response object: {', '.join(wrong)} must be as in the request")
    if answer.get("Status") not in ("SUCCESS", "FAILED"):
        raise ValueError("Invalid response object: Status must be SUCCESS or FAILED")
    if not answer.get("PhysicalResourceId"):
        raise ValueError("Invalid PhysicalResourceId")
    if answer["Status"] == "FAILED":
        raise ValueError(
            f"Received response status [FAILED] from custom resource. Message returned: {answer['Reason']}"
        )
    return answer


def _sent_properties(declaration: Declaration) -> dict[str, Any]:
    sent: dict[str, Any] = _as_sent({name: declaration.properties[name] for name in declaration.properties})
    return sent


def _as_sent(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Write numbers and booleans as texts: CloudFormation sends nothing else."""
    if isinstance(value, dict):
        return {name: _as_sent(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_sent(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


TYPES = {CUSTOM_RESOURCE: ResourceType(_create, _delete, _update)}
