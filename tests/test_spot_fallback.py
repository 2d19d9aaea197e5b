"""Spot capacity that there is none of: which group is to have the builders, and which function may say so."""

import json
from collections.abc import Callable

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from cdk_buildkit import Architecture, BuilderCapacity, BuilderScaling, Ec2BuilderFleet
from cdk_buildkit.handlers.fallback.moving import (
    Capacities,
    after_on_demand_failed,
    after_spot_failed,
    after_spot_launched,
)
from cdk_buildkit.handlers.group_state import GroupState, wanted

GROUP = "AWS::AutoScaling::AutoScalingGroup"


def state(desired: int, live: int, *, minimum: int = 0, maximum: int = 8) -> GroupState:
    return GroupState(minimum=minimum, maximum=maximum, desired=desired, live=live)


def after(spot: GroupState, on_demand: GroupState, moved: Capacities) -> tuple[GroupState, GroupState]:
    """Both groups once they have been told, before anything is launched."""
    return (
        GroupState(minimum=spot.minimum, maximum=spot.maximum, desired=moved.spot, live=min(spot.live, moved.spot)),
        GroupState(
            minimum=moved.on_demand_minimum, maximum=on_demand.maximum, desired=moved.on_demand, live=on_demand.live
        ),
    )


def test_what_spot_capacity_has_not_is_launched_on_demand() -> None:
    moved = after_spot_failed(state(5, 2), state(0, 0))

    assert moved == Capacities(spot=2, on_demand=3, on_demand_minimum=0)


def test_builders_on_demand_stay_when_more_are_missing() -> None:
    moved = after_spot_failed(state(4, 2), state(3, 3))

    assert moved == Capacities(spot=2, on_demand=5, on_demand_minimum=0)


def test_a_failed_launch_that_was_made_up_for_moves_nothing() -> None:
    moved = after_spot_failed(state(2, 2), state(1, 1))

    assert moved == Capacities(spot=2, on_demand=1, on_demand_minimum=0)


def test_the_minimum_is_held_on_demand_and_goes_on_being_tried_on_spot_capacity() -> None:
    moved = after_spot_failed(state(1, 0, minimum=1), state(0, 0))

    assert moved == Capacities(spot=1, on_demand=1, on_demand_minimum=1)


def test_no_number_of_failures_moves_more_than_is_missing() -> None:
    spot, on_demand = state(6, 1, minimum=2), state(0, 0)

    for _ in range(5):
        spot, on_demand = after(spot, on_demand, after_spot_failed(spot, on_demand))

    assert (spot.desired, on_demand.desired, on_demand.minimum) == (2, 5, 1)
    assert wanted(spot, on_demand) == 6


def test_more_than_the_maximum_is_not_launched_on_demand() -> None:
    moved = after_spot_failed(state(8, 0), state(3, 3))

    assert moved.on_demand == 8


def test_builders_on_demand_may_go_when_spot_capacity_has_the_minimum_again() -> None:
    moved = after_spot_launched(state(2, 2, minimum=2), state(2, 2, minimum=2))

    assert moved == Capacities(spot=2, on_demand=2, on_demand_minimum=0)


def test_a_launch_on_spot_capacity_takes_no_builder_away() -> None:
    moved = after_spot_launched(state(3, 3), state(2, 2))

    assert moved == Capacities(spot=3, on_demand=2, on_demand_minimum=0)


def test_spot_capacity_is_tried_again_for_what_cannot_be_had_on_demand_either() -> None:
    moved = after_on_demand_failed(state(2, 2), state(3, 1))

    assert moved == Capacities(spot=4, on_demand=1, on_demand_minimum=0)


def test_a_minimum_that_nothing_can_be_launched_for_is_wanted_once() -> None:
    spot, on_demand = state(1, 0, minimum=1), state(1, 0, minimum=1)

    for decide in (after_on_demand_failed, after_spot_failed) * 3:
        spot, on_demand = after(spot, on_demand, decide(spot, on_demand))

        assert wanted(spot, on_demand) == 1


@pytest.fixture(scope="module")
def make_template(make_fleet: Callable[..., Ec2BuilderFleet]) -> Callable[..., Template]:
    """Make the template of a fleet of one architecture with these props."""
    return lambda **props: Template.from_stack(cdk.Stack.of(make_fleet(architectures=[Architecture.ARM64], **props)))


@pytest.fixture(scope="module")
def spot_template(make_template: Callable[..., Template]) -> Template:
    return make_template(capacity=BuilderCapacity(spot=True, min_capacity=1, max_capacity=5))


def test_a_fleet_on_spot_capacity_has_a_group_on_demand_beside_it(spot_template: Template) -> None:
    distribution = {
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 100,
        "OnDemandAllocationStrategy": "prioritized",
    }

    spot_template.has_resource_properties(
        GROUP,
        {
            "MinSize": "0",
            "MaxSize": "5",
            "CapacityRebalance": False,
            "MixedInstancesPolicy": {"InstancesDistribution": distribution},
            "LifecycleHookSpecificationList": Match.array_with(
                [Match.object_like({"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"})]
            ),
        },
    )


def test_nothing_adds_builders_on_demand_but_the_fallback(spot_template: Template) -> None:
    (policy,) = spot_template.find_resources("AWS::AutoScaling::ScalingPolicy").values()

    group = spot_template.find_resources(GROUP)[policy["Properties"]["AutoScalingGroupName"]["Ref"]]

    distribution = group["Properties"]["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == 0


def test_the_function_hears_of_launches_of_both_groups_and_no_others(spot_template: Template) -> None:
    groups = [{"Ref": each} for each in spot_template.find_resources(GROUP)]

    rules = [
        each["Properties"]["EventPattern"]
        for each in spot_template.find_resources("AWS::Events::Rule").values()
        if "EventPattern" in each["Properties"]
    ]

    (pattern,) = rules
    assert pattern["source"] == ["aws.autoscaling"]
    assert pattern["detail-type"] == ["EC2 Instance Launch Successful", "EC2 Instance Launch Unsuccessful"]
    assert all(each in pattern["detail"]["AutoScalingGroupName"] for each in groups)
    assert len(pattern["detail"]["AutoScalingGroupName"]) == len(groups) == 2


def test_the_function_may_raise_the_two_groups_and_launch_nothing_itself(spot_template: Template) -> None:
    policies = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in spot_template.find_resources("AWS::IAM::Policy").items()
        if "SpotFallback" in name
    ]

    (statements,) = policies
    actions = {statement["Action"] if isinstance(statement["Action"], str) else None for statement in statements}
    assert {"autoscaling:SetDesiredCapacity", "autoscaling:UpdateAutoScalingGroup", "dynamodb:UpdateItem"} <= actions
    text = json.dumps(statements)
    assert "RunInstances" not in text
    assert "PassRole" not in text
    for statement in statements:
        if statement["Action"] != "autoscaling:DescribeAutoScalingGroups":
            assert statement["Resource"] != "*"


@pytest.mark.parametrize("capacity", [BuilderCapacity(spot=True), BuilderCapacity()])
def test_without_the_fallback_or_spot_capacity_there_is_one_group(
    make_template: Callable[..., Template], capacity: BuilderCapacity
) -> None:
    template = make_template(capacity=capacity, scaling=BuilderScaling(on_demand_fallback=not capacity.spot))

    assert len(template.find_resources(GROUP)) == 1
