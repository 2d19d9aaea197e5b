"""The function's entry: `{"waiting_jobs": {"arm64": 3}}` wakes builders and returns how many there are and come."""

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from cdk_buildkit.handlers.waiting_jobs import read_waiting_jobs
from cdk_buildkit.handlers.wake.group import BuilderGroup
from cdk_buildkit.handlers.wake.lock import Lock
from cdk_buildkit.handlers.wake.waking import wake


def handler(event: Mapping[str, Any], _context: object) -> dict[str, dict[str, Any]]:
    """Wake the builders of each architecture that is asked for.

    Args:
        event: `{"waiting_jobs": {<architecture>: <how many jobs the caller has waiting>, ...}}`.

    Returns:
        For each of them `waiting_jobs`, `wanted` builders, how many are `in_service` and `coming`, `max_capacity`, and
        a `message` for whoever waits.

    Raises:
        ValueError: The event asks for nothing, or for what the fleet has not.
        LockedError: Others change the group all the time.
    """
    groups: dict[str, str] = json.loads(os.environ["GROUPS"])
    autoscaling, dynamodb = boto3.client("autoscaling"), boto3.client("dynamodb")
    answers = {
        architecture: wake(
            BuilderGroup(autoscaling, groups[architecture]),
            Lock(dynamodb, os.environ["LOCK_TABLE"], groups[architecture]),
            waiting_jobs=jobs,
            builds_per_builder=float(os.environ["BUILDS_PER_BUILDER"]),
        ).as_json()
        for architecture, jobs in read_waiting_jobs(event, groups).items()
    }
    print(json.dumps({"event": "woken", "answers": answers}))  # noqa: T201 - the function's log
    return answers
