"""Reads DynamoDB tables back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _table(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    dynamodb = account.client("dynamodb")
    table = dynamodb.describe_table(TableName=physical_id)["Table"]
    return Found(
        {
            "BillingMode": table["BillingModeSummary"]["BillingMode"],
            "Tags": dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"],
            **pick(table, "AttributeDefinitions", "KeySchema"),
        },
        {"Arn": table["TableArn"]},
    )


READERS = {"AWS::DynamoDB::Table": Reader(_table, frozenset({"AttributeDefinitions", "Tags"}))}
