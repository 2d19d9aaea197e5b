"""Reads secrets and their policies back, but no secret's value."""

import json
from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _secret(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    secret = account.client("secretsmanager").describe_secret(SecretId=physical_id)
    return Found(pick(secret, "Description", "KmsKeyId", "Name", "Tags"), {"Id": secret["ARN"]})


def _policy(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    found = account.client("secretsmanager").get_resource_policy(SecretId=physical_id)
    policy = found.get("ResourcePolicy")
    return Found({"SecretId": found["ARN"], "ResourcePolicy": json.loads(policy) if policy else None})


READERS = {
    "AWS::SecretsManager::Secret": Reader(_secret),
    "AWS::SecretsManager::ResourcePolicy": Reader(_policy),
}
