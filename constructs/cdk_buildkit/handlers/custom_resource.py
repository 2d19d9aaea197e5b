"""Answers CloudFormation for a custom resource, whatever happens: without an answer a deployment hangs for an hour.

The protocol: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

LONGEST_REASON = 1024
"""Characters of a reason. The whole answer must stay under 4 KiB."""

_ATTEMPTS = 4
_PATIENCE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Provided:
    """What a custom resource is, once its work is done.

    Args:
        physical_id: Its identity. Another one than before makes CloudFormation delete the former.
        attributes: What `Fn::GetAtt` reads.
    """

    physical_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def answer(event: Mapping[str, Any], log_group: str, provide: Callable[[Mapping[str, Any]], Provided]) -> None:
    """Do a request's work and tell CloudFormation how it ended.

    Args:
        event: CloudFormation's request.
        log_group: Where the function logs, for the reason of a failure.
        provide: Does the work. What it raises becomes the reason, so that its words must say how to mend it, and
            hold no secret.
    """
    body = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    try:
        provided = provide(event)
    except Exception as error:  # noqa: BLE001 - every failure has to be answered
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        # For Lambda the call has succeeded: a metric filter makes a failure of this line.
        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        print(json.dumps({"event": "request_failed", "function": function, "reason": reason}))  # noqa: T201 - the log
        body |= {
            "Status": "FAILED",
            "Reason": f"{reason} (details: log group {log_group})",
            "PhysicalResourceId": event.get("PhysicalResourceId", event["LogicalResourceId"]),
        }
    else:
        body |= {
            "Status": "SUCCESS",
            "PhysicalResourceId": provided.physical_id,
            "Data": dict(provided.attributes),
        }
    _put(event["ResponseURL"], json.dumps(body).encode())


def _put(url: str, body: bytes) -> None:
    # The URL is signed without a content type.
    request = Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310 - CloudFormation's URL
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urlopen(request, timeout=_PATIENCE_SECONDS):  # noqa: S310 - likewise
                return
        except (URLError, TimeoutError):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(2**attempt)
