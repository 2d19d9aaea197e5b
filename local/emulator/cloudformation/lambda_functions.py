"""Lambda functions, the layers below them, and who may invoke them."""

from collections.abc import Mapping
from typing import Any

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only
from local.emulator.functions.inline_code import archive

_CONFIGURATION = (
    *("Description", "Handler", "Layers", "LoggingConfig", "MemorySize", "Role", "Runtime", "Timeout", "VpcConfig"),
)


def _create_function(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    function = declaration.aws.client("lambda").create_function(
        FunctionName=properties.get("FunctionName", declaration.name(64)),
        Code=_code(properties["Code"]),
        **({"Tags": tags} if tags else {}),
        **_configuration(declaration),
        **only(properties, "Architectures"),
    )
    return _provisioned(function)


def _update_function(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    properties, lambda_ = declaration.properties, declaration.aws.client("lambda")
    for name in ("FunctionName", "Tags"):
        if properties.get(name) != former.properties.get(name):
            raise UnchangeableError(f"changing {name} of a function is not emulated")
    forgotten = set(former.properties) - set(properties) - {"Description", "Environment"}
    if forgotten:
        raise UnchangeableError(f"going back to the default of {', '.join(sorted(forgotten))} is not emulated")
    lambda_.update_function_code(
        FunctionName=physical_id, **_code(properties["Code"]), **only(properties, "Architectures")
    )
    defaults = {"Description": "", "Environment": {"Variables": {}}}
    function = lambda_.update_function_configuration(
        FunctionName=physical_id, **{**defaults, **_configuration(declaration)}
    )
    return _provisioned(function)


def _delete_function(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("lambda").delete_function(FunctionName=physical_id)


def _configuration(declaration: Declaration) -> dict[str, Any]:
    configuration = only(declaration.properties, *_CONFIGURATION, "Environment", "EphemeralStorage")
    for name in ("MemorySize", "Timeout"):
        if name in configuration:
            configuration[name] = int(configuration[name])
    return configuration


def _code(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the template's Code, in which ZipFile is the text of a single file."""
    unknown = set(declared) - {"S3Bucket", "S3Key", "ZipFile"}
    if unknown:
        raise ValueError(f"code with {', '.join(sorted(unknown))} is not emulated")
    return {"ZipFile": archive(declared["ZipFile"])} if "ZipFile" in declared else dict(declared)


def _provisioned(function: Mapping[str, Any]) -> Provisioned:
    return Provisioned(function["FunctionName"], {"Arn": function["FunctionArn"]})


def _create_layer(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    layer = declaration.aws.client("lambda").publish_layer_version(
        LayerName=properties.get("LayerName", declaration.name(64)),
        **only(properties, "Content", "Description", "LicenseInfo", "CompatibleRuntimes"),
    )
    return Provisioned(layer["LayerVersionArn"], {"LayerVersionArn": layer["LayerVersionArn"]})


def _delete_layer(declaration: Declaration, physical_id: str) -> None:
    layer, _, version = physical_id.rpartition(":")
    declaration.aws.client("lambda").delete_layer_version(LayerName=layer, VersionNumber=int(version))


def _create_permission(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    statement = declaration.name(100)
    declaration.aws.client("lambda").add_permission(
        StatementId=statement,
        **only(properties, "Action", "FunctionName", "Principal", "SourceAccount", "SourceArn"),
    )
    return Provisioned(statement, {"Id": statement})


def _delete_permission(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("lambda").remove_permission(
        FunctionName=declaration.properties["FunctionName"].rpartition(":")[2], StatementId=physical_id
    )


TYPES = {
    "AWS::Lambda::Function": ResourceType(_create_function, _delete_function, _update_function),
    "AWS::Lambda::LayerVersion": ResourceType(_create_layer, _delete_layer),
    "AWS::Lambda::Permission": ResourceType(_create_permission, _delete_permission),
}
