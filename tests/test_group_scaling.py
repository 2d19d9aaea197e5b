"""How a fleet's groups follow their builds, as a template: scale-out, schedules, warm pools, spot and waking."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderScaling,
    CapacitySchedule,
    Ec2BuilderFleet,
    WarmPool,
)

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
WITHOUT_NVME = BuilderCapacity(instance_types=["c7g.2xlarge"])
MakeFleet = Callable[..., Ec2BuilderFleet]


@pytest.fixture(scope="module", name="make_fleet")
def make_arm64_fleet(make_fleet: MakeFleet) -> MakeFleet:
    """Make a fleet of one architecture, or more, with these parameters."""
    return lambda scaling=None, capacity=None, architectures=(ARM64,): make_fleet(
        scaling=scaling, capacity=capacity, architectures=architectures
    )


def template_of(fleet: Ec2BuilderFleet) -> Template:
    return Template.from_stack(cdk.Stack.of(fleet))


def only(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the one resource of a type."""
    (resource,) = template.find_resources(kind).values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def environment(template: Template) -> dict[str, str]:
    """What the builders' environment file says."""
    user_data = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["UserData"]
    text = json.dumps(user_data)
    (content,) = (part for part in text.split('\\"content\\') if "MAX_BUILDS" in part)
    lines = content.replace("\\\\\\\\n", "\n").replace("\\\\n", "\n").replace("\\n", "\n").splitlines()
    return dict(line.partition("=")[::2] for line in lines if "=" in line)


# Scale-out


@pytest.mark.parametrize("architecture", Architecture)
def test_builders_are_added_by_what_they_publish_and_none_is_taken_away(
    make_fleet: MakeFleet, architecture: Architecture
) -> None:
    template = template_of(make_fleet(BuilderScaling(target_builds_per_builder=2.5), architectures=(architecture,)))

    policy = only(template, "AWS::AutoScaling::ScalingPolicy")
    (group,) = template.find_resources("AWS::AutoScaling::AutoScalingGroup")
    assert policy == {
        "AutoScalingGroupName": {"Ref": group},
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingConfiguration": {
            "CustomizedMetricSpecification": {
                "Dimensions": [
                    {"Name": "Fleet", "Value": "main.buildkit.internal"},
                    {"Name": "Architecture", "Value": architecture.value},
                ],
                "MetricName": "InFlightBuilds",
                "Namespace": "CdkBuildkit",
                "Period": 10,
                "Statistic": "Average",
            },
            "DisableScaleIn": True,
            "TargetValue": 2.5,
        },
    }


def test_builders_are_told_what_is_asked_of_them(make_fleet: MakeFleet) -> None:
    scaling = BuilderScaling(
        max_builds=6,
        idle_timeout=timedelta(minutes=30),
        max_parallelism=12,
        step_memory=cdk.Size.gibibytes(2),
        step_cpus=1.5,
    )

    told = environment(template_of(make_fleet(scaling)))

    expected = {
        "FLEET": "main.buildkit.internal",
        "ARCHITECTURE": "arm64",
        "METRIC_NAMESPACE": "CdkBuildkit",
        "PUBLISH_SECONDS": "10",
        "MAX_BUILDS": "6",
        "IDLE_TIMEOUT_SECONDS": "1800",
        "MAX_PARALLELISM": "12",
        "STEP_MEMORY_BYTES": "2147483648",
        "STEP_CPUS": "1.5",
    }
    assert {name: told.get(name) for name in expected} == expected


# Schedules


def test_schedules_change_the_capacities_of_every_group(make_fleet: MakeFleet) -> None:
    schedules = [
        CapacitySchedule(cron="0 8 * * MON-FRI", time_zone="Europe/Berlin", min_capacity=2),
        CapacitySchedule(cron="0 19 * * *", min_capacity=0, max_capacity=4),
    ]

    template = template_of(make_fleet(BuilderScaling(schedules=schedules), architectures=(ARM64, X86_64)))

    groups = template.find_resources("AWS::AutoScaling::AutoScalingGroup")
    actions = [each["Properties"] for each in template.find_resources("AWS::AutoScaling::ScheduledAction").values()]
    for group in groups:
        of_the_group = [action for action in actions if action["AutoScalingGroupName"] == {"Ref": group}]
        assert [{key: each[key] for key in each if key != "AutoScalingGroupName"} for each in of_the_group] == [
            {"MinSize": 2, "Recurrence": "0 8 * * MON-FRI", "TimeZone": "Europe/Berlin"},
            {"MaxSize": 4, "MinSize": 0, "Recurrence": "0 19 * * *", "TimeZone": "UTC"},
        ]


def test_a_schedule_above_the_maximum_is_refused(make_fleet: MakeFleet) -> None:
    scaling = BuilderScaling(schedules=[CapacitySchedule(cron="0 8 * * *", min_capacity=9)])

    with pytest.raises(ValueError, match="min_capacity is at most max_capacity; got 9 and 8 at '0 8"):
        make_fleet(scaling)


# Warm pools


def test_a_warm_pool_holds_stopped_builders_that_come_back_with_their_store(make_fleet: MakeFleet) -> None:
    pool = WarmPool(min_size=1, max_prepared_capacity=4)

    template = template_of(make_fleet(BuilderScaling(warm_pool=pool), WITHOUT_NVME))

    (group,) = template.find_resources("AWS::AutoScaling::AutoScalingGroup")
    assert only(template, "AWS::AutoScaling::WarmPool") == {
        "AutoScalingGroupName": {"Ref": group},
        "InstanceReusePolicy": {"ReuseOnScaleIn": True},
        "MaxGroupPreparedCapacity": 4,
        "MinSize": 1,
        "PoolState": "Stopped",
    }


def test_there_is_no_warm_pool_by_default(make_fleet: MakeFleet) -> None:
    template_of(make_fleet()).resource_count_is("AWS::AutoScaling::WarmPool", 0)


def test_a_warm_pool_of_builders_whose_store_a_stop_empties_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match=r"got the instance types c7gd\.2xlarge, .* for example c7g\.2xlarge"):
        make_fleet(BuilderScaling(warm_pool=WarmPool()))


def test_a_warm_pool_on_spot_capacity_is_refused(make_fleet: MakeFleet) -> None:
    capacity = BuilderCapacity(instance_types=["c7g.2xlarge"], spot=True)

    with pytest.raises(ValueError, match="a warm pool holds on-demand builders only; got spot on: turn it off"):
        make_fleet(BuilderScaling(warm_pool=WarmPool()), capacity)


# Spot


def test_a_share_of_a_spot_fleet_is_on_demand(make_fleet: MakeFleet) -> None:
    scaling = BuilderScaling(on_demand_base_capacity=1, on_demand_percentage=25, on_demand_fallback=False)

    template = template_of(make_fleet(scaling, BuilderCapacity(spot=True)))

    group = only(template, "AWS::AutoScaling::AutoScalingGroup")
    assert group["MixedInstancesPolicy"]["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 25,
        "SpotAllocationStrategy": "price-capacity-optimized",
    }


def test_a_share_on_demand_of_a_fleet_that_is_on_demand_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match="are for fleets on spot capacity; got 0 and 25 with spot off: leave them out"):
        make_fleet(BuilderScaling(on_demand_percentage=25))


# Waking


def test_the_waker_raises_the_fleets_own_groups_and_does_nothing_else(
    make_fleet: MakeFleet, readable: Callable[[Any], Any]
) -> None:
    template = template_of(make_fleet(architectures=(ARM64, X86_64)))

    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template.find_resources("AWS::IAM::Policy").items()
        if name.startswith("FleetWaker")
    )
    group_arn = (
        "arn:<AWS::Partition>:autoscaling:<AWS::Region>:<AWS::AccountId>:autoScalingGroup:*:autoScalingGroupName/"
    )
    assert readable(policy) == [
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Effect": "Allow",
            "Resource": "<FleetWakerFunctionLog.Arn>",
        },
        {"Action": "dynamodb:UpdateItem", "Effect": "Allow", "Resource": "<FleetWakerLocks.Arn>"},
        {
            "Action": "autoscaling:SetDesiredCapacity",
            "Effect": "Allow",
            "Resource": [f"{group_arn}<FleetArm64BuildersASG>", f"{group_arn}<FleetX8664BuildersASG>"],
        },
        {
            "Action": ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities"],
            "Effect": "Allow",
            "Resource": "*",
        },
    ]


def test_the_waker_knows_the_groups_and_how_many_builds_are_one_builder(
    make_fleet: MakeFleet, readable: Callable[[Any], Any]
) -> None:
    template = template_of(make_fleet(BuilderScaling(target_builds_per_builder=1.5), architectures=(ARM64, X86_64)))

    variables = waker(template)["Environment"]["Variables"]
    assert json.loads(readable(variables["GROUPS"])) == {
        "arm64": ["<FleetArm64BuildersASG>"],
        "x86_64": ["<FleetX8664BuildersASG>"],
    }
    assert variables["BUILDS_PER_BUILDER"] == "1.5"
    assert readable(variables["LOCK_TABLE"]) == "<FleetWakerLocks>"


def test_who_is_granted_to_wake_may_call_the_waker_and_nothing_else(
    make_fleet: MakeFleet, readable: Callable[[Any], Any]
) -> None:
    fleet = make_fleet()
    runner = iam.Role(cdk.Stack.of(fleet), "Runner", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))

    fleet.grant_wake(runner)

    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template_of(fleet).find_resources("AWS::IAM::Policy").items()
        if name.startswith("Runner")
    )
    assert readable(policy) == [
        {
            "Action": "lambda:InvokeFunction",
            "Effect": "Allow",
            "Resource": ["<FleetWakerFunction.Arn>", "<FleetWakerFunction.Arn>:*"],
        }
    ]


def waker(template: Template) -> Mapping[str, Any]:
    """The properties of the function that wakes."""
    functions = template.find_resources("AWS::Lambda::Function").values()
    (properties,) = (each["Properties"] for each in functions if "GROUPS" in str(each["Properties"]))
    return dict(properties)
