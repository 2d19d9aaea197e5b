"""The function's entry: CloudFormation's requests."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

import boto3
from botocore.config import Config

from cdk_buildkit.handlers.custom_resource import Provided, answer
from cdk_buildkit.handlers.release.archive_store import ArchiveStore
from cdk_buildkit.handlers.release.copying import Archive, copy_archives

ANSWER_SECONDS = 60
"""Of the function's time, what is kept for the last request to S3 and the answer."""

_S3_CONFIG = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})


class LambdaContext(Protocol):
    """What Lambda tells a function of its call."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the call."""


def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Answer CloudFormation."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
    answer(event, os.environ["LOG_GROUP"], lambda request: _provide(request, deadline))


def _provide(event: Mapping[str, Any], deadline: float) -> Provided:
    bucket, prefix = os.environ["BUCKET"], os.environ["PREFIX"]
    store = ArchiveStore(boto3.client("s3", config=_S3_CONFIG), bucket=bucket, prefix=prefix)
    if event["RequestType"] == "Delete":
        # S3 deletes no bucket that holds something.
        done = {"removed": store.empty()}
    else:
        archives = [
            Archive(url=each["Url"], sha256=each["Sha256"], key=each["Key"])
            for each in event["ResourceProperties"]["Archives"]
        ]
        done = {"copied": copy_archives(store, archives, deadline=deadline)}
    print(json.dumps(done))  # noqa: T201 - the function's log
    # The same for ever: with another identity, an update would be followed by a deletion of what was there before.
    return Provided(physical_id=bucket, attributes={"Bucket": bucket})
