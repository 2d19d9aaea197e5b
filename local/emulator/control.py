"""What a real account has no interface for: policies on and off, an instance's credentials, an object's age, and more.

Paths begin with `/_emulator/`, which no bucket's name can. Bodies are JSON objects.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from moto.s3.models import s3_backends

from local.emulator import clusters
from local.emulator.aws import ACCOUNT
from local.emulator.cloudformation import custom_resources
from local.emulator.errors import Answer
from local.emulator.functions import rules
from local.emulator.principals import instance_credentials, pod_credentials
from local.emulator.request import Environ, body

PREFIX = "/_emulator/"


class Controlled(Protocol):
    """What can be switched in the application."""

    enforce_iam: bool


def respond(application: Controlled, environ: Environ) -> Answer:
    """Carry out one request to the emulator itself."""
    operation = _OPERATIONS.get(environ["PATH_INFO"].removeprefix(PREFIX))
    try:
        if operation is None:
            raise LookupError(f"the emulator has no {environ['PATH_INFO']}")  # noqa: TRY301 - one path for refusals
        status, document = HTTPStatus.OK, operation(application, json.loads(body(environ)))
    except (LookupError, ValueError) as error:
        status, document = HTTPStatus.BAD_REQUEST, {"error": str(error)}
    data = json.dumps(document).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
    return Answer(f"{status.value} {status.phrase}", headers, [data])


def _enforcement(application: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    application.enforce_iam = bool(given["enforce"])
    return given


def _custom_resources(_: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    records = custom_resources.records.values()
    return {"records": [asdict(each) for each in records if each.physical_id == given["physical_id"]]}


def _fire_rule(_: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    return {"returned": rules.fire(given["rule"])}


def _instance_credentials(_: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    return dict(instance_credentials(given["instance_profile"]))


def _kubernetes(_: Controlled, _given: dict[str, Any]) -> dict[str, Any]:
    return {"records": {physical_id: asdict(each) for physical_id, each in clusters.records.items()}}


def _pod_credentials(_: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    return dict(pod_credentials(given["namespace"], given["service_account"]))


def _last_modified(_: Controlled, given: dict[str, Any]) -> dict[str, Any]:
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(given["bucket"])
    if bucket is None:
        raise LookupError(f"there is no bucket {given['bucket']}")
    time = datetime.fromisoformat(given["last_modified"]).replace(tzinfo=None)  # moto counts in naive UTC
    keys = [key for key in bucket.keys if key.startswith(given["prefix"])]
    for key in keys:
        bucket.keys[key].last_modified = time
    return {"changed": sorted(keys)}


_OPERATIONS: dict[str, Callable[[Controlled, dict[str, Any]], dict[str, Any]]] = {
    "custom-resources": _custom_resources,
    "enforcement": _enforcement,
    "fire-rule": _fire_rule,
    "instance-credentials": _instance_credentials,
    "kubernetes": _kubernetes,
    "last-modified": _last_modified,
    "pod-credentials": _pod_credentials,
}
