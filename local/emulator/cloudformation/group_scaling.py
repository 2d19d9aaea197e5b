"""How Auto Scaling groups follow their load: scaling policies, scheduled actions and warm pools."""

from collections.abc import Callable

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only


def _create_policy(declaration: Declaration) -> Provisioned:
    name, properties = declaration.name(255), declaration.properties
    autoscaling, group = declaration.aws.client("autoscaling"), properties["AutoScalingGroupName"]
    autoscaling.put_scaling_policy(
        PolicyName=name, AutoScalingGroupName=group, **only(properties, "PolicyType", "TargetTrackingConfiguration")
    )
    # moto's answer lacks the ARN.
    (policy,) = autoscaling.describe_policies(AutoScalingGroupName=group, PolicyNames=[name])["ScalingPolicies"]
    return Provisioned(policy["PolicyARN"], {"Arn": policy["PolicyARN"], "PolicyName": name})


def _delete_policy(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("autoscaling").delete_policy(
        AutoScalingGroupName=declaration.properties["AutoScalingGroupName"], PolicyName=physical_id.rpartition("/")[2]
    )


def _create_action(declaration: Declaration) -> Provisioned:
    name, properties = declaration.name(255), declaration.properties
    declaration.aws.client("autoscaling").put_scheduled_update_group_action(
        ScheduledActionName=name,
        **only(properties, "AutoScalingGroupName", "Recurrence", "TimeZone"),
        **{key: int(value) for key, value in only(properties, "MinSize", "MaxSize").items()},
    )
    return Provisioned(name)


def _delete_action(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("autoscaling").delete_scheduled_action(
        AutoScalingGroupName=declaration.properties["AutoScalingGroupName"], ScheduledActionName=physical_id
    )


def _create_pool(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    declaration.aws.client("autoscaling").put_warm_pool(
        **only(properties, "AutoScalingGroupName", "PoolState", "InstanceReusePolicy"),
        **{key: int(value) for key, value in only(properties, "MinSize", "MaxGroupPreparedCapacity").items()},
    )
    return Provisioned(properties["AutoScalingGroupName"])


def _delete_pool(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("autoscaling").delete_warm_pool(AutoScalingGroupName=physical_id)


def _again(create: Callable[[Declaration], Provisioned]) -> Callable[[Declaration, Declaration, str], Provisioned]:
    """Change a resource by putting it again: each of these calls replaces what has the name."""

    def update(declaration: Declaration, former: Declaration, _physical_id: str) -> Provisioned:
        name = "AutoScalingGroupName"
        if declaration.properties[name] != former.properties[name]:
            raise UnchangeableError(f"changing {name} is not emulated")
        return create(declaration)

    return update


TYPES = {
    "AWS::AutoScaling::ScalingPolicy": ResourceType(_create_policy, _delete_policy, _again(_create_policy)),
    "AWS::AutoScaling::ScheduledAction": ResourceType(_create_action, _delete_action, _again(_create_action)),
    "AWS::AutoScaling::WarmPool": ResourceType(_create_pool, _delete_pool, _again(_create_pool)),
}
