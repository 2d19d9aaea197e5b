"""Reads every resource of every stack back through its service, and compares it with the template."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from local.emulator.aws import Aws
from local.emulator.read_back import (
    compute,
    custom_resources,
    dynamodb,
    event_rules,
    group_scaling,
    identity,
    kubernetes,
    lambda_functions,
    load_balancing,
    monitoring,
    naming,
    network,
    notifications,
    regional,
    secrets_manager,
    security_groups,
    storage,
)
from local.emulator.read_back.comparison import Difference, compare
from local.emulator.read_back.reader import Account, Found, Reader
from local.emulator.read_back.stack import parameters, physical_ids, pseudo_parameters, templates
from local.emulator.read_back.template import ReadBackError, Template

__all__ = ["Difference", "ReadBack", "ReadBackError", "read_back"]

_READERS: dict[str, Reader] = {
    **compute.READERS,
    **custom_resources.READERS,
    **dynamodb.READERS,
    **event_rules.READERS,
    **group_scaling.READERS,
    **identity.READERS,
    **kubernetes.READERS,
    **lambda_functions.READERS,
    **load_balancing.READERS,
    **monitoring.READERS,
    **naming.READERS,
    **network.READERS,
    **notifications.READERS,
    **regional.READERS,
    **secrets_manager.READERS,
    **security_groups.READERS,
    **storage.READERS,
}


@dataclass(frozen=True)
class ReadBack:
    """How an account compares with the templates that were deployed to it.

    Args:
        compared: Resources read back, by type.
        differences: Properties that are not as declared.
        unchecked: Declared properties that no reader looks at, by type.
    """

    compared: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    unchecked: dict[str, set[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether everything declared was looked at and is as declared."""
        return not self.differences and not self.unchecked


def read_back(endpoint_url: str, assembly: Path) -> ReadBack:
    """Compare the emulated account with the templates of an assembly and with the bootstrap stack's.

    Args:
        endpoint_url: Where the emulator listens.
        assembly: The directory that `cdk synth` wrote and `cdk deploy` deployed.

    Raises:
        ReadBackError: A type has no reader, a resource is missing from its stack, or a template needs a function
            that is not resolved here.
    """
    aws = Aws(endpoint_url)
    cloudformation = aws.client("cloudformation")
    documents = dict(templates(assembly, cloudformation))
    ids = {stack: physical_ids(cloudformation, stack) for stack in documents}
    account = Account(aws.client, frozenset(value for by_name in ids.values() for value in by_name.values()))
    result = ReadBack()
    for stack, document in documents.items():
        _read_stack(account, stack, document, ids[stack], result)
    return result


def _read_stack(
    account: Account, stack: str, document: Mapping[str, Any], ids: Mapping[str, str], result: ReadBack
) -> None:
    cloudformation = account.client("cloudformation")
    zones = account.client("ec2").describe_availability_zones()["AvailabilityZones"]

    @cache
    def found(logical_id: str) -> Found:
        kind = _reader_name(document["Resources"][logical_id]["Type"])
        if kind not in _READERS:
            raise ReadBackError(f"{stack}/{logical_id}: {kind} has no reader")
        if logical_id not in ids:
            raise ReadBackError(f"{stack}/{logical_id} ({kind}) is not in its stack")
        return _READERS[kind].read(account, ids[logical_id], template.properties(logical_id))

    def attribute(logical_id: str, name: str) -> Any:  # noqa: ANN401 - text or a list of text
        attributes = found(logical_id).attributes
        if name not in attributes:
            raise ReadBackError(f"{stack}/{logical_id}: the attribute {name} is not read")
        return attributes[name]

    template = Template(
        document=document,
        pseudo_parameters=pseudo_parameters(cloudformation, stack),
        parameters=parameters(cloudformation, stack, document),
        physical_ids=ids,
        attribute=attribute,
        exports={each["Name"]: each["Value"] for each in cloudformation.list_exports()["Exports"]},
        availability_zones=sorted(zone["ZoneName"] for zone in zones),
    )
    for logical_id, resource in template.resources.items():
        kind = _reader_name(resource["Type"])
        declared, properties = template.properties(logical_id), found(logical_id).properties
        result.compared[kind] += 1
        for name in sorted(declared.keys() | _READERS[kind].closed):
            if name not in properties:
                result.unchecked.setdefault(kind, set()).add(name)
            else:
                found_value = properties[name] if name in declared else properties[name] or None
                result.differences.extend(
                    Difference(stack, logical_id, *each)
                    for each in compare(declared.get(name), found_value, name, _READERS[kind].unordered)
                )
    result.differences.extend(
        Difference(stack, "Outputs", *each) for each in _compare_outputs(cloudformation, stack, template)
    )


def _reader_name(type_name: str) -> str:
    custom = type_name.startswith("Custom::") and type_name not in _READERS
    return custom_resources.CUSTOM_RESOURCE if custom else type_name


def _compare_outputs(cloudformation: Any, stack: str, template: Template) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
    for name, value in template.outputs().items():
        yield from compare(value, outputs.get(name), name)
