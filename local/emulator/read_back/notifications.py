"""Reads SNS topics with their policies, and KMS keys back."""

import json
from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _topic(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    sns = account.client("sns")
    attributes = sns.get_topic_attributes(TopicArn=physical_id)["Attributes"]
    tags = sns.list_tags_for_resource(ResourceArn=physical_id)["Tags"]
    name = physical_id.rpartition(":")[2]
    return Found(
        {**pick(attributes, "DisplayName", "KmsMasterKeyId"), "TopicName": name, "Tags": tags},
        {"TopicArn": physical_id, "TopicName": name},
    )


def _policy(account: Account, _: str, declared: Mapping[str, Any]) -> Found:
    sns = account.client("sns")
    found = [
        json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]) for topic in declared["Topics"]
    ]
    same = all(each == found[0] for each in found)
    return Found({"PolicyDocument": found[0] if same else found, "Topics": declared["Topics"]})


def _key(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    kms = account.client("kms")
    key = kms.describe_key(KeyId=physical_id)["KeyMetadata"]
    tags = kms.list_resource_tags(KeyId=physical_id)["Tags"]
    return Found(
        {
            "Description": key["Description"],
            "EnableKeyRotation": kms.get_key_rotation_status(KeyId=physical_id)["KeyRotationEnabled"],
            "KeyPolicy": json.loads(kms.get_key_policy(KeyId=physical_id, PolicyName="default")["Policy"]),
            # Of no service's description: it counts when the key is deleted.
            "PendingWindowInDays": declared.get("PendingWindowInDays"),
            "Tags": [{"Key": each["TagKey"], "Value": each["TagValue"]} for each in tags],
        },
        {"Arn": key["Arn"], "KeyId": physical_id},
    )


READERS = {
    "AWS::KMS::Key": Reader(_key),
    "AWS::SNS::Topic": Reader(_topic),
    "AWS::SNS::TopicPolicy": Reader(_policy),
}
