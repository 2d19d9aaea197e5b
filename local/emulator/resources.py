"""Which resource a request to a service other than S3 is about, as IAM names it."""

from collections.abc import Callable, Mapping
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.cloudformation.models import cloudformation_backends
from moto.secretsmanager.models import secretsmanager_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.request import AwsRequest


def resource_of(request: AwsRequest) -> str | None:
    """Return the ARN of what a request is about. None: it is not known here."""
    find = _RESOURCES.get(request.service)
    return find(request.parameters) if find else None


def tags_of(request: AwsRequest) -> Mapping[str, str] | None:
    """Return the tags of what a request is about. None: they are not known here."""
    find = _TAGS.get(request.service)
    return find(request.parameters) if find else None


def _stack(parameters: Mapping[str, Any]) -> str | None:
    given = parameters.get("StackName", "")
    stacks = cloudformation_backends[ACCOUNT][REGION].stacks.values()
    found = next((stack.stack_id for stack in stacks if given in (stack.stack_id, stack.name)), None)
    return found or (f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{given}/*" if given else None)


def _secret(parameters: Mapping[str, Any]) -> str | None:
    secrets = secretsmanager_backends[ACCOUNT][REGION].secrets
    given = parameters.get("SecretId", "")
    return next((secret.arn for secret in secrets.values() if given in (secret.arn, secret.name)), None)


def _group(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("AutoScalingGroupName")
    return f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{name}" if name else None


def _group_tags(parameters: Mapping[str, Any]) -> Mapping[str, str] | None:
    groups = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups
    group = groups.get(parameters.get("AutoScalingGroupName", ""))
    return {tag["Key"]: tag["Value"] for tag in group.tags} if group else None


def _table(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("TableName")
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}" if name else None


def _function(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("function", "")
    return name if name.startswith("arn:") else f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" if name else None


def _log_group(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("logGroupName")
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*" if name else None


def _parameter(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("Name")
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.removeprefix('/')}" if name else None


def _rule(parameters: Mapping[str, Any]) -> str | None:
    name = parameters.get("Rule", parameters.get("Name"))
    return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}" if name else None


def _role(parameters: Mapping[str, Any]) -> str | None:
    return parameters.get("RoleArn")


_RESOURCES: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "autoscaling": _group,
    "cloudformation": _stack,
    "dynamodb": _table,
    "events": _rule,
    "lambda": _function,
    "logs": _log_group,
    "secretsmanager": _secret,
    "ssm": _parameter,
    "sts": _role,
}

_TAGS: dict[str, Callable[[Mapping[str, Any]], Mapping[str, str] | None]] = {"autoscaling": _group_tags}
