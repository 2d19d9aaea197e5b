"""The Auto Scaling group in which the builder under proof is launched, and what it is launched from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from cdk_buildkit.handlers.proof.record import fingerprint
from cdk_buildkit.handlers.proof.verdict import Activity, Instance, ProofError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef
    from mypy_boto3_ec2 import EC2Client

_PASSING = {"ScalingActivityInProgress", "ResourceContention", "AccessDenied", "UnauthorizedOperation"}
"""Why AWS may refuse for a moment: other activities are in the way, or it does not know the function's policy yet, that
the same deploy has made or changed: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html"""

_Answer = TypeVar("_Answer")

_ATTEMPTS = 10
_ATTEMPT_SECONDS = 3


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the group looks like: how many instances it is to have, which it has, and of which types they may be."""

    desired_capacity: int
    instances: tuple[Instance, ...]
    instance_types: tuple[str, ...]


class ProofGroup:
    """A group of no instance or one. A call that AWS refuses is made again while the refusal may pass.

    Args:
        autoscaling: Auto Scaling.
        ec2: EC2.
        name: The group's name.
    """

    def __init__(self, autoscaling: "AutoScalingClient", ec2: "EC2Client", name: str) -> None:
        self.name = name
        self._autoscaling = autoscaling
        self._ec2 = ec2

    def look(self) -> Sight | None:
        """Return what it looks like, or None when there is no such group."""
        group = self._describe()
        if group is None:
            return None
        overrides = group["MixedInstancesPolicy"]["LaunchTemplate"].get("Overrides", [])
        return Sight(
            desired_capacity=group["DesiredCapacity"],
            instances=tuple(
                Instance(instance_id=each["InstanceId"], lifecycle_state=each["LifecycleState"])
                for each in group["Instances"]
            ),
            instance_types=tuple(each["InstanceType"] for each in overrides if "InstanceType" in each),
        )

    def activities(self) -> list[Activity]:
        """Return its scaling activities, the latest first."""
        paginator = self._autoscaling.get_paginator("describe_scaling_activities")
        pages = _patiently(lambda: list(paginator.paginate(AutoScalingGroupName=self.name)))
        return [
            Activity(
                activity_id=each["ActivityId"],
                status_code=each["StatusCode"],
                status_message=each.get("StatusMessage", ""),
                description=each.get("Description", ""),
            )
            for page in pages
            for each in page["Activities"]
        ]

    def set_capacity(self, capacity: int) -> None:
        """Ask for so many instances.

        Raises:
            ClientError: Auto Scaling refuses.
        """
        _patiently(
            lambda: self._autoscaling.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=capacity)
        )

    def fingerprint(self) -> str:
        """Return the fingerprint of what it launches, and where.

        Raises:
            ProofError: There is no such group.
        """
        group = self._describe()
        if group is None:
            raise ProofError(f"there is no Auto Scaling group {self.name}: deploy the stack again")
        policy = group["MixedInstancesPolicy"]
        launch_template = policy["LaunchTemplate"]
        source = launch_template["LaunchTemplateSpecification"]
        (version,) = _patiently(
            lambda: self._ec2.describe_launch_template_versions(
                LaunchTemplateId=source["LaunchTemplateId"], Versions=[source["Version"]]
            )
        )["LaunchTemplateVersions"]
        return fingerprint(
            launch_template_data=version["LaunchTemplateData"],
            overrides=launch_template.get("Overrides", []),
            distribution=policy.get("InstancesDistribution", {}),
            subnets=sorted(group["VPCZoneIdentifier"].split(",")),
        )

    def _describe(self) -> "AutoScalingGroupTypeDef | None":
        groups = _patiently(lambda: self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name]))[
            "AutoScalingGroups"
        ]
        return groups[0] if groups else None


def _patiently(call: Callable[[], _Answer]) -> _Answer:
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _PASSING:
                raise
        time.sleep(_ATTEMPT_SECONDS)
    return call()
