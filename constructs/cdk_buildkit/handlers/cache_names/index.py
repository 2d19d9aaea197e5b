"""The function's entry: `{"names": [...], "architectures": [...]}` returns the one cache that a build should import."""

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cdk_buildkit.handlers.cache_names.choosing import choose, read_question


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Say which of some caches a build should import.

    Args:
        event: `{"names": [<cache name, the best first>, ...], "architectures": [<architecture>, ...]}`.

    Returns:
        `{"choice": {"scope": ..., "name": ..., "architectures": [...]}}`, with the architectures that it is there for,
        or `{"choice": None}`: there is none yet.

    Raises:
        ValueError: The event is no question, or asks for what the fleet has not.
        ClientError: S3 did not let it look.
    """
    buckets: dict[str, str] = json.loads(os.environ["BUCKETS"])
    scopes: list[str] = json.loads(os.environ["SCOPES"])
    s3 = boto3.client("s3")

    def exists(architecture: str, scope: str, name: str) -> bool:
        try:
            s3.head_object(Bucket=buckets[architecture], Key=f"{scope}/manifests/{name}")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:  # noqa: PLR2004 - HTTP's number
                return False
            raise
        return True

    choice = choose(read_question(event, buckets), scopes, exists)
    answer = {"choice": choice.as_json() if choice else None}
    print(json.dumps({"event": "chosen", "question": dict(event), **answer}))  # noqa: T201 - the function's log
    return answer
