"""Spot capacity that can be exhausted, where moto has always enough; and what EventBridge hears of launches.

A group whose spot instances cannot be launched goes on wanting them, as on AWS. When capacity is back it gets them.
"""

from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

from moto.autoscaling.models import FakeAutoScalingGroup, autoscaling_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.errors import NotEmulatedError
from local.emulator.functions import rules
from local.emulator.replacing import replace

NO_CAPACITY = "Could not launch Spot Instances. UnfulfillableCapacity - there is no capacity in any pool."

Launch = Callable[[FakeAutoScalingGroup, int, dict[str, str]], None]


class SpotMarket:
    """What there is to be launched.

    Args:
        available: Whether there is spot capacity.
    """

    def __init__(self, *, available: bool = True) -> None:
        self.available = available

    def set_available(self, *, available: bool) -> None:
        """Exhaust spot capacity, or bring it back, for which Auto Scaling goes on trying."""
        self.available = available
        for group in autoscaling_backends[ACCOUNT][REGION].autoscaling_groups.values():
            if len(group.active_instances()) < (group.desired_capacity or 0):
                group.set_desired_capacity(group.desired_capacity)


MARKET = SpotMarket()


def install() -> None:
    """Let the groups of this process's moto launch what there is."""
    replace(
        FakeAutoScalingGroup,
        "replace_autoscaling_group_instances",
        _launching_what_there_is(FakeAutoScalingGroup.replace_autoscaling_group_instances),
    )


def _launching_what_there_is(launch: Launch) -> Launch:
    def wrapper(group: FakeAutoScalingGroup, count: int, tags: dict[str, str]) -> None:
        available = count if MARKET.available or not _is_spot(group) else 0
        if available:
            launch(group, available, tags)
        _tell(group, "EC2 Instance Launch Successful", available)
        _tell(group, "EC2 Instance Launch Unsuccessful", count - available, StatusMessage=NO_CAPACITY)

    return wrapper


def _is_spot(group: FakeAutoScalingGroup) -> bool:
    distribution: Mapping[str, Any] = (group.mixed_instances_policy or {}).get("InstancesDistribution", {})
    base = int(distribution.get("OnDemandBaseCapacity", 0))
    percentage = int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100))
    if base or 0 < percentage < 100:  # noqa: PLR2004 - a percentage
        raise NotEmulatedError(f"which builders of {group.name} are on demand is not known here: give it no share")
    return not percentage


def _tell(group: FakeAutoScalingGroup, kind: str, instances: int, **detail: str) -> None:
    """Tell EventBridge, once for each instance, which calls its targets while this group's change goes on.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html
    """
    event = {"source": "aws.autoscaling", "detail-type": kind, "detail": {"AutoScalingGroupName": group.name, **detail}}
    for _ in range(instances):
        Thread(target=rules.send, args=(event,), daemon=True).start()
