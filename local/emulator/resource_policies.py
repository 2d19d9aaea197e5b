"""The policies that resources themselves carry: buckets, secrets and functions."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.principals import Policies


def resource_policy(resource: str | None) -> Policies:
    """Return the policies of a resource, given its ARN; none where it has none."""
    if resource is None or not resource.startswith("arn:"):
        return []
    find = _POLICIES.get(resource.split(":")[2])
    return find(resource) if find else []


def _bucket(arn: str) -> Policies:
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(arn.removeprefix("arn:aws:s3:::").partition("/")[0])
    return [json.loads(bucket.policy)] if bucket is not None and bucket.policy else []


def _secret(arn: str) -> Policies:
    secrets: Mapping[str, Any] = secretsmanager_backends[ACCOUNT][REGION].secrets
    return [json.loads(secret.policy) for secret in secrets.values() if secret.arn == arn and secret.policy]


def _function(arn: str) -> Policies:
    try:
        function = lambda_backends[ACCOUNT][REGION].get_function(arn.split(":")[6])
    except UnknownFunctionException:
        return []
    return [{"Statement": function.policy.statements}] if function.policy.statements else []


_POLICIES: dict[str, Callable[[str], Policies]] = {"lambda": _function, "s3": _bucket, "secretsmanager": _secret}
