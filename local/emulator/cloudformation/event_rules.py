"""EventBridge rules and their targets."""

import json

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only


def _create(declaration: Declaration) -> Provisioned:
    return _put(declaration, declaration.properties.get("Name", declaration.name(64)))


def _update(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    if declaration.properties.get("Name") != former.properties.get("Name"):
        raise UnchangeableError("changing the name of a rule is not emulated")
    _remove_targets(former, physical_id)
    return _put(declaration, physical_id)


def _put(declaration: Declaration, name: str) -> Provisioned:
    events, properties = declaration.aws.client("events"), declaration.properties
    pattern = properties.get("EventPattern")
    arn = events.put_rule(
        Name=name,
        **({"EventPattern": json.dumps(pattern)} if pattern else {}),
        **only(properties, "Description", "ScheduleExpression", "State", "Tags"),
    )["RuleArn"]
    targets = properties.get("Targets", [])
    if targets:
        events.put_targets(Rule=name, Targets=targets)
    return Provisioned(name, {"Arn": arn})


def _delete(declaration: Declaration, physical_id: str) -> None:
    _remove_targets(declaration, physical_id)
    declaration.aws.client("events").delete_rule(Name=physical_id)


def _remove_targets(declaration: Declaration, physical_id: str) -> None:
    targets = [target["Id"] for target in declaration.properties.get("Targets", [])]
    if targets:
        declaration.aws.client("events").remove_targets(Rule=physical_id, Ids=targets)


TYPES = {"AWS::Events::Rule": ResourceType(_create, _delete, _update)}
