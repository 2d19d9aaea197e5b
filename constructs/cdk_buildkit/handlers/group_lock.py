"""A lock for each group, in a DynamoDB table: Auto Scaling has no call that raises a capacity and never lowers it."""

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PATIENCE_SECONDS = 20.0
"""How long to try for the lock; a function's own timeout is longer, and the lock's lease longer than that."""

LEASE_SECONDS = 60
"""Longer than the function may run: who still has the lock by then is not there any more."""

REMEMBERED_SECONDS = 20
"""How long the last desired capacity is told to the next: AWS states no bound on when a group shows it."""


class LockedError(Exception):
    """Others had the lock all the time; the message says of what."""


class GroupLock:
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the `with` block, which changes nothing of what was last set under it.

        Raises:
            LockedError: It was not to be had.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while self.take() is None:
            if time.monotonic() > until:
                raise LockedError(locked_words(self._key["group"]["S"]))
            time.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - it protects nothing
        try:
            yield
        finally:
            self.release(None)

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


def locked_words(group: str) -> str:
    """Say that the lock was not to be had."""
    return f"the desired capacity of {group} was being changed for {PATIENCE_SECONDS:.0f} s: call again"
