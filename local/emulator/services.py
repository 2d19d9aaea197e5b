"""Mends moto's services where they are wrong about something that the templates declare."""

import base64
import copy
import hashlib
import threading
from collections.abc import Callable, Mapping

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudformation.models import Stack
from moto.core.responses import ActionResult
from moto.dynamodb.responses import DynamoHandler
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.elbv2.models import ELBv2Backend
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey
from moto.s3.responses import S3Response
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend

from local.emulator import sessions
from local.emulator.replacing import replace

_LONGEST_DEREGISTRATION_DELAY = "3600"


def mend() -> None:
    """Mend this process's moto."""
    sessions.install()
    replace(SecurityGroupRule, "description", property(_description))
    replace(Stack, "parameter_list", property(_parameter_list))
    replace(Stack, "stack_parameters", property(_given_parameters))
    accepting = _accepting_an_hour(ELBv2Backend.modify_target_group_attributes)
    replace(ELBv2Backend, "modify_target_group_attributes", accepting)
    keeping_all = _keeping_all(AutoScalingResponse.create_auto_scaling_group)
    replace(AutoScalingResponse, "create_auto_scaling_group", keeping_all)
    replace(FakeAutoScalingGroup, "update", _keeping_policy(FakeAutoScalingGroup.update))
    following = _following_current(SecretsManagerBackend.update_secret_version_stage)
    replace(SecretsManagerBackend, "update_secret_version_stage", following)
    replace(S3Response, "put_object", _checking_sum(S3Response.put_object))
    replace(DynamoHandler, "update_item", _one_after_another(DynamoHandler.update_item))
    replace(FakeKey, "dispose", _leave_to_readers)
    replace(FakeKey, "etag", property(_one_at_a_time(vars(FakeKey)["etag"].fget)))


def _accepting_an_hour(modify: Callable[..., None]) -> Callable[..., None]:
    """Accept the longest deregistration delay that AWS does: moto ends one second earlier."""
    name = "deregistration_delay.timeout_seconds"

    def wrapper(backend: ELBv2Backend, target_group_arn: str, attributes: Mapping[str, str]) -> None:
        longest = attributes.get(name) == _LONGEST_DEREGISTRATION_DELAY
        modify(
            backend, target_group_arn, {key: value for key, value in attributes.items() if key != name or not longest}
        )
        if longest:
            backend.target_groups[target_group_arn].attributes[name] = _LONGEST_DEREGISTRATION_DELAY

    return wrapper


def _keeping_all(create: Callable[..., object]) -> Callable[..., object]:
    """Keep what a group was created with and moto leaves out; it describes every attribute that a group has."""
    left_out = {
        "DefaultInstanceWarmup": "default_instance_warmup",
        "InstanceMaintenancePolicy": "instance_maintenance_policy",
        "MaxInstanceLifetime": "max_instance_lifetime",
    }

    def wrapper(response: AutoScalingResponse) -> object:
        answer = create(response)
        given = response._get_params()  # noqa: SLF001 - moto has no other access to them
        (group,) = response.autoscaling_backend.describe_auto_scaling_groups([given["AutoScalingGroupName"]])
        for name, attribute in left_out.items():
            if name in given:
                setattr(group, attribute, given[name])
        return answer

    return wrapper


def _keeping_policy(update: Callable[..., None]) -> Callable[..., None]:
    """Let a change of a group that says nothing of what it launches leave its mixed instances policy: moto drops it."""

    def wrapper(group: FakeAutoScalingGroup, **given: object) -> None:
        names = ("mixed_instances_policy", "launch_template", "launch_config_name")
        if group.mixed_instances_policy and not any(given.get(name) for name in names):
            policy = copy.deepcopy(group.mixed_instances_policy)
            # It takes either of the two that it keeps.
            policy["LaunchTemplate"]["LaunchTemplateSpecification"].pop("LaunchTemplateName", None)
            given["mixed_instances_policy"] = policy
        update(group, **given)

    return wrapper


def _following_current(update: Callable[..., tuple[str, str]]) -> Callable[..., tuple[str, str]]:
    """Let the next value take AWSCURRENT from the version that was given it: moto takes it from another."""

    def wrapper(
        backend: SecretsManagerBackend,
        secret_id: str,
        version_stage: str,
        remove_from_version_id: str,
        move_to_version_id: str,
    ) -> tuple[str, str]:
        answer = update(backend, secret_id, version_stage, remove_from_version_id, move_to_version_id)
        if version_stage == "AWSCURRENT":
            secret = backend.secrets[secret_id]
            assert isinstance(secret, FakeSecret)  # noqa: S101 - a replica's labels cannot be moved
            secret.set_default_version_id(move_to_version_id)
        return answer

    return wrapper


def _checking_sum(put: Callable[..., object]) -> Callable[..., object]:
    """Refuse an object that has another SHA-256 than the request says, as S3 does; moto believes what it says."""

    def wrapper(response: S3Response) -> object:
        given = response.headers.get("x-amz-checksum-sha256")
        if given and given != base64.b64encode(hashlib.sha256(response.raw_body).digest()).decode():
            raise S3ClientError("BadDigest", "The SHA256 you specified did not match the calculated checksum.")
        return put(response)

    return wrapper


def _one_after_another(update: Callable[[DynamoHandler], ActionResult]) -> Callable[[DynamoHandler], ActionResult]:
    """Let nobody change an item between an update's condition and the update, as the real service does."""
    lock = threading.Lock()

    def wrapper(handler: DynamoHandler) -> ActionResult:
        with lock:
            return update(handler)

    return wrapper


def _leave_to_readers(_key: FakeKey, *, garbage: bool = False) -> None:
    """Let whoever reads an object that is being replaced read it to its end: its file closes when nobody has it."""


def _one_at_a_time(etag: Callable[[FakeKey], str]) -> Callable[[FakeKey], str]:
    """Compute an object's ETag while nobody reads the object: both move the position in one file."""

    def wrapper(key: FakeKey) -> str:
        with key.lock:
            return etag(key)

    return wrapper


def _description(rule: SecurityGroupRule) -> str | None:
    """Return a rule's description, also when it admits a security group: moto knows those of address ranges."""
    described: str | None = rule.ip_range.get("Description") or rule.source_group.get("Description")
    return described


def _parameter_list(stack: Stack) -> list[dict[str, str]]:
    """Return a stack's parameters, lists as the comma-separated texts that they were given as."""
    return [
        {"ParameterKey": key, "ParameterValue": ",".join(value) if isinstance(value, list) else str(value)}
        for key, value in stack.resource_map.resolved_parameters.items()
    ]


def _given_parameters(stack: Stack) -> dict[str, str]:
    """Return what a stack's parameters were given as: an update that keeps them must not resolve them twice."""
    declared = stack.template_dict.get("Parameters", {})
    given = stack.resource_map.input_parameters
    return {name: given.get(name, parameter.get("Default")) for name, parameter in declared.items()}
