"""Finds a template's stack in the account, and what it made."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from local.emulator.aws import ACCOUNT, REGION

BOOTSTRAP_STACK = "CDKToolkit"


def templates(assembly: Path, cloudformation: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401
    """Yield the names and templates of an assembly's stacks, the bootstrap stack's before them.

    Args:
        assembly: The directory that `cdk synth` wrote.
        cloudformation: The service's client. It has the bootstrap stack's template.
    """
    bootstrap = cloudformation.get_template(StackName=BOOTSTRAP_STACK)["TemplateBody"]
    yield BOOTSTRAP_STACK, yaml.safe_load(bootstrap) if isinstance(bootstrap, str) else bootstrap
    manifest = json.loads((assembly / "manifest.json").read_text())
    for name, artifact in manifest["artifacts"].items():
        if artifact["type"] == "aws:cloudformation:stack":
            properties = artifact["properties"]
            yield properties.get("stackName", name), json.loads((assembly / properties["templateFile"]).read_text())


def physical_ids(cloudformation: Any, stack: str) -> dict[str, str]:  # noqa: ANN401 - see Aws.client
    """Return the physical ids of a stack's resources by logical id."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
    }


def parameters(cloudformation: Any, stack: str, template: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Return the values of a stack's parameters, lists as such."""
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    values = {each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", [])}
    declared = template.get("Parameters", {})
    return {
        name: value.split(",") if declared[name]["Type"] == "CommaDelimitedList" else value
        for name, value in values.items()
    }


def pseudo_parameters(cloudformation: Any, stack: str) -> dict[str, str]:  # noqa: ANN401 - see Aws.client
    """Return the values of `AWS::Region` and its like."""
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::StackId": described["StackId"],
        "AWS::StackName": stack,
        "AWS::URLSuffix": "amazonaws.com",
    }
