"""The Auto Scaling group in which the builder under proof is launched, and what it is launched from."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from cdk_buildkit.handlers.proof.record import fingerprint
from cdk_buildkit.handlers.proof.verdict import Activity, Instance, ProofError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef
    from mypy_boto3_ec2 import EC2Client

_PASSING = {"ScalingActivityInProgress", "ResourceContention", "AccessDenied"}
"""Why Auto Scaling may refuse for a moment: other activities are in the way, or it does not know yet the function's
policy, which the same deploy has just changed."""

_ATTEMPTS = 10
_ATTEMPT_SECONDS = 3


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the group looks like: how many instances it is to have, which it has, and of which types they may be."""

    desired_capacity: int
    instances: tuple[Instance, ...]
    instance_types: tuple[str, ...]


class ProofGroup:
    """A group of no instance or one.

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
        pages = self._autoscaling.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=self.name)
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
        """Ask for so many instances; again, while the refusal may pass.

        Raises:
            ClientError: Auto Scaling refuses.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._autoscaling.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=capacity)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _PASSING or attempt == _ATTEMPTS:
                    raise
                time.sleep(_ATTEMPT_SECONDS)
            else:
                return

    def fingerprint(self) -> str:
        """Return the fingerprint of what it launches: the launch template's data, instance types, purchase options.

        Raises:
            ProofError: There is no such group.
        """
        group = self._describe()
        if group is None:
            raise ProofError(f"there is no Auto Scaling group {self.name}: deploy the stack again")
        policy = group["MixedInstancesPolicy"]
        launch_template = policy["LaunchTemplate"]
        source = launch_template["LaunchTemplateSpecification"]
        (version,) = self._ec2.describe_launch_template_versions(
            LaunchTemplateId=source["LaunchTemplateId"], Versions=[source["Version"]]
        )["LaunchTemplateVersions"]
        differently = [launch_template.get("Overrides", []), policy.get("InstancesDistribution", {})]
        return fingerprint(version["LaunchTemplateData"], differently)

    def _describe(self) -> "AutoScalingGroupTypeDef | None":
        groups = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return groups[0] if groups else None
