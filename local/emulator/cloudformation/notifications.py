"""SNS topics with their policies, and KMS keys."""

import json

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _create_topic(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    name = properties.get("TopicName", declaration.name(256))
    attributes = only(properties, "DisplayName", "KmsMasterKeyId")
    arn = declaration.aws.client("sns").create_topic(Name=name, Attributes=attributes, **only(properties, "Tags"))
    return Provisioned(arn["TopicArn"], {"TopicArn": arn["TopicArn"], "TopicName": name})


def _delete_topic(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("sns").delete_topic(TopicArn=physical_id)


def _create_policy(declaration: Declaration) -> Provisioned:
    document = json.dumps(declaration.properties["PolicyDocument"])
    for topic in declaration.properties["Topics"]:
        declaration.aws.client("sns").set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=document
        )
    return Provisioned(declaration.name(64))


def _leave(_declaration: Declaration, _physical_id: str) -> None:
    """Leave a topic's policy: a topic has one always, and this one goes with it."""


def _create_key(declaration: Declaration) -> Provisioned:
    kms, properties = declaration.aws.client("kms"), declaration.properties
    properties.get("PendingWindowInDays")  # counts when the key is deleted
    key = kms.create_key(
        Policy=json.dumps(properties["KeyPolicy"]),
        **only(properties, "Description"),
        **(
            {"Tags": [{"TagKey": each["Key"], "TagValue": each["Value"]} for each in properties["Tags"]]}
            if "Tags" in properties
            else {}
        ),
    )["KeyMetadata"]
    if str(properties.get("EnableKeyRotation", False)).lower() == "true":
        kms.enable_key_rotation(KeyId=key["KeyId"])
    return Provisioned(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})


def _delete_key(declaration: Declaration, physical_id: str) -> None:
    days = int(declaration.properties.get("PendingWindowInDays", 30))
    declaration.aws.client("kms").schedule_key_deletion(KeyId=physical_id, PendingWindowInDays=days)


TYPES = {
    "AWS::KMS::Key": ResourceType(_create_key, _delete_key),
    "AWS::SNS::Topic": ResourceType(_create_topic, _delete_topic),
    "AWS::SNS::TopicPolicy": ResourceType(_create_policy, _leave),
}
