"""Reads S3 buckets and their policies back."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from local.emulator.read_back.reader import Account, Found, Reader, pick, without_nothing

_NOTHING_THERE = {
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}


def _ask(account: Account, operation: str, bucket: str) -> dict[str, Any]:
    """Ask for one part of a bucket's configuration; nothing where it has none."""
    try:
        answer: dict[str, Any] = getattr(account.client("s3"), operation)(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOTHING_THERE:
            raise
        return {}
    return answer


def _bucket(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    encryption = _ask(account, "get_bucket_encryption", physical_id).get("ServerSideEncryptionConfiguration", {})
    lifecycle = _ask(account, "get_bucket_lifecycle_configuration", physical_id).get("Rules")
    versioning = _ask(account, "get_bucket_versioning", physical_id).get("Status")
    grants = _ask(account, "get_bucket_acl", physical_id)["Grants"]
    private = [grant["Permission"] for grant in grants] == ["FULL_CONTROL"]
    return Found(
        {
            "AccessControl": "Private" if private else None,
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [_encryption(rule) for rule in encryption.get("Rules", [])]
            },
            "BucketName": physical_id,
            "LifecycleConfiguration": {"Rules": [_rule(rule) for rule in lifecycle]} if lifecycle else None,
            "OwnershipControls": _ask(account, "get_bucket_ownership_controls", physical_id).get("OwnershipControls"),
            "PublicAccessBlockConfiguration": _ask(account, "get_public_access_block", physical_id).get(
                "PublicAccessBlockConfiguration"
            ),
            "Tags": _ask(account, "get_bucket_tagging", physical_id).get("TagSet"),
            "VersioningConfiguration": {"Status": versioning} if versioning else None,
        },
        {
            "Arn": f"arn:aws:s3:::{physical_id}",
            "DomainName": f"{physical_id}.s3.amazonaws.com",
            "RegionalDomainName": f"{physical_id}.s3.{account.client('s3').meta.region_name}.amazonaws.com",
        },
    )


def _encryption(rule: Mapping[str, Any]) -> dict[str, Any]:
    default = {"ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"]}
    return default | ({"BucketKeyEnabled": True} if rule.get("BucketKeyEnabled") else {})


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return without_nothing(
        {
            "Id": rule["ID"],
            "Prefix": rule.get("Filter", {}).get("Prefix") or None,
            "ExpirationInDays": rule.get("Expiration", {}).get("Days"),
            **pick(rule, "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"),
        }
    )


def _bucket_policy(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    policy = _ask(account, "get_bucket_policy", physical_id).get("Policy")
    return Found({"Bucket": physical_id, "PolicyDocument": json.loads(policy) if policy else None})


READERS = {
    "AWS::S3::Bucket": Reader(_bucket, frozenset({"LifecycleConfiguration.Rules"})),
    "AWS::S3::BucketPolicy": Reader(_bucket_policy),
}
