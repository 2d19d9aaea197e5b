"""Reads scaling policies, scheduled actions and warm pools back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _policy(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    (policy,) = account.client("autoscaling").describe_policies(
        AutoScalingGroupName=declared["AutoScalingGroupName"], PolicyNames=[physical_id.rpartition("/")[2]]
    )["ScalingPolicies"]
    target = policy["TargetTrackingConfiguration"]
    if target["TargetValue"].is_integer():  # which a template writes without a fraction
        target["TargetValue"] = int(target["TargetValue"])
    return Found(
        {**pick(policy, "AutoScalingGroupName", "PolicyType"), "TargetTrackingConfiguration": target},
        {"Arn": policy["PolicyARN"], "PolicyName": policy["PolicyName"]},
    )


def _action(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    (action,) = account.client("autoscaling").describe_scheduled_actions(
        AutoScalingGroupName=declared["AutoScalingGroupName"], ScheduledActionNames=[physical_id]
    )["ScheduledUpdateGroupActions"]
    return Found(pick(action, "AutoScalingGroupName", "MaxSize", "MinSize", "Recurrence", "TimeZone"))


def _pool(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    pool = account.client("autoscaling").describe_warm_pool(AutoScalingGroupName=physical_id)["WarmPoolConfiguration"]
    return Found(
        {
            "AutoScalingGroupName": physical_id,
            **pick(pool, "InstanceReusePolicy", "MaxGroupPreparedCapacity", "MinSize", "PoolState"),
        }
    )


READERS = {
    "AWS::AutoScaling::ScalingPolicy": Reader(
        _policy, frozenset({"TargetTrackingConfiguration.CustomizedMetricSpecification.Dimensions"})
    ),
    "AWS::AutoScaling::ScheduledAction": Reader(_action, closed=frozenset({"MaxSize", "MinSize", "TimeZone"})),
    "AWS::AutoScaling::WarmPool": Reader(_pool, closed=frozenset({"MaxGroupPreparedCapacity"})),
}
