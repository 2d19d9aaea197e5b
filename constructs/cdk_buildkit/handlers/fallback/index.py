"""The function's entry: an event of Auto Scaling moves capacity between a fleet's spot and on-demand groups."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import boto3

from cdk_buildkit.handlers.fallback.moving import (
    Capacities,
    after_on_demand_failed,
    after_spot_failed,
    after_spot_launched,
    as_they_are,
)
from cdk_buildkit.handlers.group_lock import GroupLock
from cdk_buildkit.handlers.group_state import read_groups

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

LAUNCHED = "EC2 Instance Launch Successful"
FAILED = "EC2 Instance Launch Unsuccessful"
"""https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, int]:
    """Move what one group cannot launch to the other.

    Args:
        event: One of Auto Scaling's events, of one of the groups that the environment names.

    Returns:
        What the groups are to have from now on: `spot`, `on_demand`, `on_demand_minimum`.

    Raises:
        LookupError: A group is not there.
        LockedError: Others change the groups all the time. EventBridge calls again.
    """
    pairs: dict[str, str] = dict(json.loads(os.environ["GROUPS"]))
    name = event["detail"]["AutoScalingGroupName"]
    spot = next(each for each, fallback in pairs.items() if name in (each, fallback))
    decide = {
        (FAILED, True): after_spot_failed,
        (LAUNCHED, True): after_spot_launched,
        (FAILED, False): after_on_demand_failed,
    }.get((event["detail-type"], name == spot), as_they_are)
    autoscaling = boto3.client("autoscaling")
    with GroupLock(boto3.client("dynamodb"), os.environ["LOCK_TABLE"], spot).held():
        states = read_groups(autoscaling, [spot, pairs[spot]])
        before, after = as_they_are(*states), decide(*states)
        _apply(autoscaling, spot, pairs[spot], before, after)
    reason = event["detail"].get("StatusMessage", "")
    print(json.dumps({"event": "moved" if before != after else "stays", "group": name, "reason": reason}))  # noqa: T201 - the function's log
    return asdict(after)


def _apply(client: "AutoScalingClient", spot: str, on_demand: str, before: Capacities, after: Capacities) -> None:
    """Raise the one before the other is lowered: who ends in between leaves a builder too many, never one too few."""

    def set_on_demand() -> None:
        if (before.on_demand, before.on_demand_minimum) != (after.on_demand, after.on_demand_minimum):
            client.update_auto_scaling_group(
                AutoScalingGroupName=on_demand, MinSize=after.on_demand_minimum, DesiredCapacity=after.on_demand
            )

    def set_spot() -> None:
        if before.spot != after.spot:
            client.set_desired_capacity(AutoScalingGroupName=spot, DesiredCapacity=after.spot, HonorCooldown=False)

    for change in (set_spot, set_on_demand) if after.spot > before.spot else (set_on_demand, set_spot):
        change()
