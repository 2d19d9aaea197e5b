"""The builders of one architecture, as far as waking goes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cdk_buildkit.handlers.group_state import read_groups, wanted
from cdk_buildkit.handlers.wake.waking import Capacity

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

RECENT = timedelta(minutes=15)
"""How long a failed launch is worth telling: Auto Scaling tries again for as long as the builder is wanted."""


class BuilderGroup:
    """Reads and raises one group, with the builders that its fallback group has in its place.

    Args:
        client: Auto Scaling.
        name: The group's name.
        fallback: The fallback group's name. Default: there is none.
    """

    def __init__(self, client: "AutoScalingClient", name: str, fallback: str | None = None) -> None:
        self._client = client
        self.name = name
        self._names = [name, *([fallback] if fallback else [])]

    def capacity(self) -> Capacity:
        """Return what it is like now.

        Raises:
            LookupError: A group is not there.
        """
        group, fallback = read_groups(self._client, self._names)
        desired, serving = wanted(group, fallback), group.serving + fallback.serving
        return Capacity(
            desired=desired,
            maximum=group.maximum,
            serving=serving,
            problem=self._problem() if desired > len(serving) else None,
        )

    def set_desired(self, desired: int) -> None:
        """Let there be that many builders, whenever the last ones were launched; what is missing, in the group."""
        group, fallback = read_groups(self._client, self._names)
        self._client.set_desired_capacity(
            AutoScalingGroupName=self.name,
            DesiredCapacity=desired - wanted(group, fallback) + group.desired,
            HonorCooldown=False,
        )

    def _problem(self) -> str | None:
        """Return why the last launch failed, if it was lately: no capacity, a quota, a launch template that is gone."""
        activities = self._client.describe_scaling_activities(AutoScalingGroupName=self.name, MaxRecords=1)[
            "Activities"
        ]
        for activity in activities:
            if activity["StatusCode"] == "Failed" and activity["StartTime"] > datetime.now(UTC) - RECENT:
                return activity.get("StatusMessage", activity["Cause"])
        return None
