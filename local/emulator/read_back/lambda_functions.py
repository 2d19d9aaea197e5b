"""Reads functions back, the layers below them, and who may invoke them."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from local.emulator.functions.inline_code import archive
from local.emulator.read_back.reader import Account, Found, Reader, pick


def _function(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    described = account.client("lambda").get_function(FunctionName=physical_id)
    configuration = described["Configuration"]
    names = (
        "Architectures",
        "Description",
        "EphemeralStorage",
        "FunctionName",
        "Handler",
        "LoggingConfig",
        "MemorySize",
        "Role",
        "Runtime",
        "Timeout",
    )
    same_code = _sum(account, declared["Code"]) == configuration["CodeSha256"]
    network = configuration.get("VpcConfig") or {}
    layers = [layer["Arn"] for layer in configuration.get("Layers", [])]
    variables = configuration.get("Environment", {}).get("Variables")
    return Found(
        {
            # Where code came from is not kept; that it is the same can be told.
            "Code": declared["Code"] if same_code else {"CodeSha256": configuration["CodeSha256"]},
            "Environment": {"Variables": variables} if variables else None,
            "Tags": [{"Key": key, "Value": value} for key, value in described.get("Tags", {}).items()],
            "Layers": layers or None,
            "VpcConfig": pick(network, "SecurityGroupIds", "SubnetIds") if network else None,
            **pick(configuration, *names),
        },
        {"Arn": configuration["FunctionArn"]},
    )


def _layer(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    layer, _, version = physical_id.rpartition(":")
    described = account.client("lambda").get_layer_version(LayerName=layer, VersionNumber=int(version))
    same_code = _sum(account, declared["Content"]) == described["Content"]["CodeSha256"]
    return Found(
        {
            "Content": declared["Content"] if same_code else {"CodeSha256": described["Content"]["CodeSha256"]},
            "LayerName": layer.rpartition(":")[2],
            **pick(described, "CompatibleRuntimes", "Description", "LicenseInfo"),
        },
        {"LayerVersionArn": physical_id},
    )


def _sum(account: Account, code: Mapping[str, Any]) -> str:
    """Return the sum that Lambda gives of the declared code."""
    if "ZipFile" in code:
        content = archive(code["ZipFile"])
    else:
        content = account.client("s3").get_object(Bucket=code["S3Bucket"], Key=code["S3Key"])["Body"].read()
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _permission(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    function = declared["FunctionName"]
    policy = json.loads(account.client("lambda").get_policy(FunctionName=function)["Policy"])
    statement: Mapping[str, Any] = next((each for each in policy["Statement"] if each["Sid"] == physical_id), {})
    condition = statement.get("Condition", {})
    principal = statement.get("Principal")
    is_of_function = str(statement.get("Resource")).rpartition(":")[2] == function.rpartition(":")[2]
    return Found(
        {
            "Action": statement.get("Action"),
            "FunctionName": function if is_of_function else statement.get("Resource"),
            "Principal": next(iter(principal.values())) if isinstance(principal, Mapping) else principal,
            "SourceAccount": condition.get("StringEquals", {}).get("AWS:SourceAccount"),
            "SourceArn": condition.get("ArnLike", {}).get("AWS:SourceArn"),
        },
        {"Id": physical_id},
    )


READERS = {
    "AWS::Lambda::Function": Reader(
        _function,
        frozenset({"Architectures", "VpcConfig.SecurityGroupIds"}),
        closed=frozenset({"Environment", "LoggingConfig"}),
    ),
    "AWS::Lambda::LayerVersion": Reader(_layer),
    "AWS::Lambda::Permission": Reader(_permission, closed=frozenset({"SourceAccount", "SourceArn"})),
}
