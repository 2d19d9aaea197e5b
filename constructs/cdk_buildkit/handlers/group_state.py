"""The Auto Scaling groups of one architecture: the fleet's own, and the one on demand beside spot capacity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """What an Auto Scaling group is like at one moment.

    Args:
        minimum: Instances that it has at the least.
        maximum: Instances that it may have.
        desired: Instances that it wants.
        live: Instances that it has, from their launch on until they go.
        serving: The ids of those of them that serve.
    """

    minimum: int
    maximum: int
    desired: int
    live: int = 0
    serving: tuple[str, ...] = ()


NO_GROUP = GroupState(minimum=0, maximum=0, desired=0)
"""In place of a fallback group where there is none."""


def wanted(group: GroupState, fallback: GroupState) -> int:
    """Return how many builders both are to have together.

    What `group` must have and cannot get it goes on wanting; the fallback group's minimum is that very number.
    """
    return group.desired + fallback.desired - fallback.minimum


def read_groups(client: "AutoScalingClient", names: Sequence[str]) -> tuple[GroupState, GroupState]:
    """Read a group and the fallback group that may be named after it.

    Raises:
        LookupError: A group is not there.
    """
    described = {
        each["AutoScalingGroupName"]: each
        for each in client.describe_auto_scaling_groups(AutoScalingGroupNames=list(names))["AutoScalingGroups"]
    }
    missing = set(names) - set(described)
    if missing:
        raise LookupError(f"the Auto Scaling groups {', '.join(sorted(missing))} are not there: deploy the fleet again")
    states = [
        GroupState(
            minimum=group["MinSize"],
            maximum=group["MaxSize"],
            desired=group["DesiredCapacity"],
            live=sum(not each["LifecycleState"].startswith("Terminat") for each in group["Instances"]),
            serving=tuple(each["InstanceId"] for each in group["Instances"] if each["LifecycleState"] == "InService"),
        )
        for group in (described[name] for name in names)
    ]
    return states[0], states[1] if len(states) > 1 else NO_GROUP
