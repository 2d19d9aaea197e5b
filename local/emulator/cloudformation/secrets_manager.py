"""Secrets and their policies."""

import json

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only


def _create_secret(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    arn = declaration.aws.client("secretsmanager").create_secret(
        Name=properties.get("Name", declaration.name(64)),
        **only(properties, "Description", "KmsKeyId", "SecretString", "Tags"),
    )["ARN"]
    return Provisioned(arn, {"Id": arn})


def _update_secret(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    changed = _changed(declaration, former) - {"Description", "KmsKeyId", "SecretString"}
    if changed:
        raise UnchangeableError(f"changing {', '.join(sorted(changed))} of a secret is not emulated")
    declaration.aws.client("secretsmanager").update_secret(
        SecretId=physical_id, **only(declaration.properties, "Description", "KmsKeyId", "SecretString")
    )
    return Provisioned(physical_id, {"Id": physical_id})


def _delete_secret(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("secretsmanager").delete_secret(SecretId=physical_id, ForceDeleteWithoutRecovery=True)


def _put_policy(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    secret = declaration.aws.client("secretsmanager").put_resource_policy(
        SecretId=properties["SecretId"],
        ResourcePolicy=json.dumps(properties["ResourcePolicy"]),
        **only(properties, "BlockPublicPolicy"),
    )["ARN"]
    return Provisioned(secret, {"Id": secret})


def _delete_policy(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("secretsmanager").delete_resource_policy(SecretId=physical_id)


def _changed(declaration: Declaration, former: Declaration) -> set[str]:
    names = {*declaration.properties, *former.properties}
    return {name for name in names if declaration.properties.get(name) != former.properties.get(name)}


TYPES = {
    "AWS::SecretsManager::Secret": ResourceType(_create_secret, _delete_secret, _update_secret),
    "AWS::SecretsManager::ResourcePolicy": ResourceType(
        _put_policy, _delete_policy, lambda declaration, _former, _physical_id: _put_policy(declaration)
    ),
}
