"""A lock for each group, in a DynamoDB table: Auto Scaling has no call that raises a capacity and never lowers it."""

import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE_SECONDS = 60
"""Longer than the function may run: who still has the lock by then is not there any more."""

REMEMBERED_SECONDS = 20
"""How long the last desired capacity is told to the next: AWS states no bound on when a group shows it."""


class Lock:
    """Held by one call at a time.

    Args:
        client: DynamoDB.
        table: The table, whose key is `group`.
        group: The group's name.
    """

    def __init__(self, client: "DynamoDBClient", table: str, group: str) -> None:
        self._client = client
        self._table = table
        self._key = {"group": {"S": group}}
        self._holder = str(uuid.uuid4())

    def take(self) -> int | None:
        """Take it, and return the desired capacity last set under it, 0 after a while; None: another has it."""
        now = int(time.time())
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression="SET holder = :holder, lease_ends = :lease_ends",
                ConditionExpression="attribute_not_exists(holder) OR lease_ends < :now",
                ExpressionAttributeValues={
                    ":holder": {"S": self._holder},
                    ":lease_ends": {"N": str(now + LEASE_SECONDS)},
                    ":now": {"N": str(now)},
                },
                ReturnValues="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        before = answer.get("Attributes", {})
        if "desired" not in before or int(before["set_at"]["N"]) < now - REMEMBERED_SECONDS:
            return 0
        return int(before["desired"]["N"])

    def release(self, desired: int | None) -> None:
        """Give it back, and leave the desired capacity that has been set for the next; None: none has been."""
        setting = {}
        if desired is not None:
            setting = {":desired": {"N": str(desired)}, ":now": {"N": str(int(time.time()))}}
        self._client.update_item(
            TableName=self._table,
            Key=self._key,
            UpdateExpression=("SET desired = :desired, set_at = :now " if setting else "")
            + "REMOVE holder, lease_ends",
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={**setting, ":holder": {"S": self._holder}},
        )
