"""S3 buckets with all their configuration, and their policies."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _create_bucket(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    name = properties.get("BucketName", declaration.name(63).lower())
    s3 = declaration.aws.client("s3")
    s3.create_bucket(Bucket=name)
    for configured, configure in _CONFIGURE.items():
        if configured in properties:
            configure(s3, name, properties[configured])
    return Provisioned(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{s3.meta.region_name}.amazonaws.com",
        },
    )


def _put_access_control(s3: Any, bucket: str, value: str) -> None:  # noqa: ANN401 - see Aws.client
    if value != "Private":
        raise ValueError(f"only AccessControl Private is emulated; got {value}")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")


def _put_encryption(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:  # noqa: ANN401 - see Aws.client
    rules = [
        {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"], **only(rule, "BucketKeyEnabled")}
        for rule in value["ServerSideEncryptionConfiguration"]
    ]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _put_lifecycle(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:  # noqa: ANN401 - see Aws.client
    rules = []
    for declared in value["Rules"]:
        rule = only(declared, "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
        unknown = set(declared) - set(rule) - {"Id", "Prefix", "ExpirationInDays"}
        if unknown:
            raise ValueError(f"a lifecycle rule with {', '.join(sorted(unknown))} is not emulated")
        rule |= {"ID": declared["Id"], "Filter": {"Prefix": declared.get("Prefix", "")}}
        if "ExpirationInDays" in declared:
            rule["Expiration"] = {"Days": declared["ExpirationInDays"]}
        rules.append(rule)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _put_ownership(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:  # noqa: ANN401 - see Aws.client
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=value)


def _put_public_access_block(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:  # noqa: ANN401 - see Aws.client
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=value)


def _put_versioning(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:  # noqa: ANN401 - see Aws.client
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=value)


def _put_tags(s3: Any, bucket: str, value: list[dict[str, str]]) -> None:  # noqa: ANN401 - see Aws.client
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": value})


_CONFIGURE: dict[str, Callable[[Any, str, Any], None]] = {
    "AccessControl": _put_access_control,
    "BucketEncryption": _put_encryption,
    "LifecycleConfiguration": _put_lifecycle,
    "OwnershipControls": _put_ownership,
    "PublicAccessBlockConfiguration": _put_public_access_block,
    "Tags": _put_tags,
    "VersioningConfiguration": _put_versioning,
}


def _delete_bucket(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("s3").delete_bucket(Bucket=physical_id)


def _create_policy(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    declaration.aws.client("s3").put_bucket_policy(
        Bucket=properties["Bucket"], Policy=json.dumps(properties["PolicyDocument"])
    )
    return Provisioned(properties["Bucket"])


def _delete_policy(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("s3").delete_bucket_policy(Bucket=physical_id)


TYPES = {
    "AWS::S3::Bucket": ResourceType(_create_bucket, _delete_bucket),
    "AWS::S3::BucketPolicy": ResourceType(_create_policy, _delete_policy),
}
