"""The Auto Scaling group of one architecture, as far as waking goes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cdk_buildkit.handlers.wake.waking import Capacity

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

RECENT = timedelta(minutes=15)
"""How long a failed launch is worth telling: Auto Scaling tries again for as long as the builder is wanted."""


class BuilderGroup:
    """Reads and raises one group.

    Args:
        client: Auto Scaling.
        name: The group's name.
    """

    def __init__(self, client: "AutoScalingClient", name: str) -> None:
        self._client = client
        self.name = name

    def capacity(self) -> Capacity:
        """Return what it is like now."""
        (group,) = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        desired = group["DesiredCapacity"]
        in_service = sum(each["LifecycleState"] == "InService" for each in group["Instances"])
        return Capacity(
            desired=desired,
            maximum=group["MaxSize"],
            in_service=in_service,
            problem=self._problem() if desired > in_service else None,
        )

    def set_desired(self, desired: int) -> None:
        """Let it have that many instances, whenever the last ones were launched."""
        self._client.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=desired, HonorCooldown=False)

    def _problem(self) -> str | None:
        """Return why the last launch failed, if it was lately: no capacity, a quota, a launch template that is gone."""
        activities = self._client.describe_scaling_activities(AutoScalingGroupName=self.name, MaxRecords=1)[
            "Activities"
        ]
        for activity in activities:
            if activity["StatusCode"] == "Failed" and activity["StartTime"] > datetime.now(UTC) - RECENT:
                return activity.get("StatusMessage", activity["Cause"])
        return None
