"""Read the instance's own metadata, version 2 of the service only."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from .drain_rules import Signs, parse_interruption

_SERVICE = "http://169.254.169.254/latest"
_PATIENCE_SECONDS = 2
_NOT_FOUND = 404


class MetadataError(Exception):
    """The service did not answer, or not as documented."""


def read(*paths: str) -> list[str | None]:
    """Return the values at paths such as `meta-data/instance-id`, None for those that do not exist.

    Raises:
        MetadataError: The service did not answer.
    """
    try:
        token = _open("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        return [_value(path, {"X-aws-ec2-metadata-token": token}) for path in paths]
    except (OSError, http.client.HTTPException) as error:
        raise MetadataError(f"the metadata service did not answer: {error}") from error


def read_place() -> tuple[str, str | None]:
    """Return the instance's id and its Auto Scaling group's name, None outside a group.

    Raises:
        MetadataError: The service did not answer, or knows no id.
    """
    instance_id, group = read("meta-data/instance-id", "meta-data/tags/instance/aws:autoscaling:groupName")
    if instance_id is None:
        raise MetadataError("the metadata service knows no instance id")
    return instance_id, group


def read_signs() -> Signs:
    """Return what the service says of the instance's future.

    Raises:
        MetadataError: It did not answer, or not as documented.
    """
    target_state, action = read("meta-data/autoscaling/target-lifecycle-state", "meta-data/spot/instance-action")
    try:
        return Signs(target_state, parse_interruption(action))
    except ValueError as error:
        raise MetadataError(str(error)) from error


def _value(path: str, headers: dict[str, str]) -> str | None:
    try:
        return _open("GET", path, headers)
    except urllib.error.HTTPError as error:
        if error.code == _NOT_FOUND:
            return None
        raise


def _open(method: str, path: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(f"{_SERVICE}/{path}", method=method, headers=headers)  # noqa: S310 - http, fixed
    with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 - likewise
        return str(answer.read().decode())
