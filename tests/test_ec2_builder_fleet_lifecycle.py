"""How a fleet's builders come and go, as the template says it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Match, Template

from cdk_buildkit import Architecture, BuilderCapacity, CacheBucket, CacheScope, Ec2BuilderFleet

GROUP = "AWS::AutoScaling::AutoScalingGroup"
TEMPLATE = "AWS::EC2::LaunchTemplate"

MakeFleet = Callable[..., Ec2BuilderFleet]
MakeTemplate = Callable[..., Template]


@pytest.fixture(scope="module")
def make_template(make_fleet: MakeFleet) -> MakeTemplate:
    return lambda **props: Template.from_stack(cdk.Stack.of(make_fleet(**props)))


@pytest.fixture(scope="module")
def template(make_template: MakeTemplate) -> Template:
    return make_template()


def role_statements(template: Template) -> list[Mapping[str, Any]]:
    (policy,) = template.find_resources(
        "AWS::IAM::Policy", {"Properties": {"PolicyName": Match.string_like_regexp("^FleetRole")}}
    ).values()
    statements: list[Mapping[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    return statements


def statement_of(template: Template, action: str) -> Mapping[str, Any]:
    (statement,) = (each for each in role_statements(template) if action in each["Action"])
    return statement


def test_a_builder_that_powers_itself_off_ends(template: Template) -> None:
    template.all_resources_properties(
        TEMPLATE, {"LaunchTemplateData": {"InstanceInitiatedShutdownBehavior": "terminate"}}
    )


def test_a_builder_that_does_not_say_that_it_serves_is_abandoned(template: Template) -> None:
    hook = {
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
        "LifecycleHookName": "boot",
        "DefaultResult": "ABANDON",
        "HeartbeatTimeout": 600,
    }

    template.all_resources_properties(GROUP, {"LifecycleHookSpecificationList": Match.array_with([hook])})


def test_a_builder_that_died_in_its_drain_is_waited_for_no_longer_than_a_heartbeat(template: Template) -> None:
    hook = {
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "LifecycleHookName": "drain",
        "DefaultResult": "CONTINUE",
        "HeartbeatTimeout": 900,
    }

    template.all_resources_properties(GROUP, {"LifecycleHookSpecificationList": Match.array_with([hook])})


def test_the_hooks_are_there_before_the_first_builder(template: Template) -> None:
    template.resource_count_is("AWS::AutoScaling::LifecycleHook", 0)


def test_a_deploy_launches_before_it_terminates(template: Template) -> None:
    refresh = {
        "Strategy": "Rolling",
        "Preferences": {
            "MinHealthyPercentage": 100,
            "MaxHealthyPercentage": 200,
            "InstanceWarmup": 180,
            "SkipMatching": True,
        },
    }

    template.all_resources(GROUP, {"UpdatePolicy": {"AutoScalingInstanceRefresh": refresh}})


def test_a_deploy_uses_the_template_s_latest_version(template: Template) -> None:
    # A new version is what makes CloudFormation start the refresh.
    version = {"Version": {"Fn::GetAtt": [Match.any_value(), "LatestVersionNumber"]}}

    template.all_resources_properties(
        GROUP,
        {"MixedInstancesPolicy": {"LaunchTemplate": {"LaunchTemplateSpecification": Match.object_like(version)}}},
    )


def test_every_other_replacement_launches_before_it_terminates(template: Template) -> None:
    policy = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}

    template.all_resources_properties(GROUP, {"InstanceMaintenancePolicy": policy})


def test_a_new_builder_has_time_to_join_the_load_balancer(template: Template) -> None:
    template.all_resources_properties(GROUP, {"DefaultInstanceWarmup": 180})


def test_builders_are_replaced_at_a_given_age(make_template: MakeTemplate, template: Template) -> None:
    template.all_resources_properties(GROUP, {"MaxInstanceLifetime": 14 * 86400})

    weekly = make_template(max_instance_lifetime=cdk.Duration.days(7))

    weekly.all_resources_properties(GROUP, {"MaxInstanceLifetime": 7 * 86400})


def test_spot_builders_are_replaced_when_they_are_at_risk_and_others_are_not(
    make_template: MakeTemplate, template: Template
) -> None:
    template.all_resources_properties(GROUP, {"CapacityRebalance": False})

    spot = make_template(capacity=BuilderCapacity(spot=True))

    at_risk = {name: group["Properties"]["CapacityRebalance"] for name, group in spot.find_resources(GROUP).items()}
    assert len(at_risk) == 4
    assert all(rebalanced is ("Fallback" not in name) for name, rebalanced in at_risk.items())


def test_the_health_of_the_load_balancer_ends_no_builder(template: Template) -> None:
    template.all_resources_properties(GROUP, {"HealthCheckType": "EC2"})


def test_groups_wait_for_the_role_s_permissions(template: Template) -> None:
    (policy,) = template.find_resources(
        "AWS::IAM::Policy", {"Properties": {"PolicyName": Match.string_like_regexp("^FleetRole")}}
    )

    template.all_resources(GROUP, {"DependsOn": Match.array_with([policy])})


def test_builders_answer_the_hooks_ask_for_replacement_and_retire_in_their_own_groups_alone(template: Template) -> None:
    statement = statement_of(template, "autoscaling:CompleteLifecycleAction")
    (group, *_) = template.find_resources(GROUP).values()
    (tag,) = (tag for tag in group["Properties"]["Tags"] if tag["Key"] == "cdk-buildkit:fleet")

    assert statement["Action"] == [
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "autoscaling:SetInstanceHealth",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
    ]
    assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/cdk-buildkit:fleet": tag["Value"]}}
    template.all_resources_properties(GROUP, {"Tags": Match.array_with([tag])})


def test_two_fleets_have_different_tags() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    vpc = ec2.Vpc(stack, "Vpc")
    zone = route53.PrivateHostedZone(stack, "Zone", vpc=vpc, zone_name="buildkit.internal")
    scope = CacheScope("main")
    cache = CacheBucket(stack, "Cache", scopes=[scope])
    for name in ("First", "Second"):
        Ec2BuilderFleet(
            stack,
            name,
            vpc=vpc,
            zone=zone,
            record_name=name.lower(),
            caches={Architecture.ARM64: cache},
            write=scope,
            prove_boot=False,
        )

    groups = Template.from_stack(stack).find_resources(GROUP).values()
    tags = [tag for group in groups for tag in group["Properties"]["Tags"] if tag["Key"] == "cdk-buildkit:fleet"]

    assert len(tags) == 2
    assert tags[0]["Value"] != tags[1]["Value"]


def test_builders_leave_their_own_target_groups_alone(template: Template) -> None:
    target_groups = template.find_resources("AWS::ElasticLoadBalancingV2::TargetGroup")

    allowed = [
        statement["Resource"]
        for statement in role_statements(template)
        if statement["Action"] == "elasticloadbalancing:DeregisterTargets"
    ]
    resources = [each for resource in allowed for each in (resource if isinstance(resource, list) else [resource])]

    assert sorted(each["Ref"] for each in resources) == sorted(target_groups)


def test_a_builder_reads_its_group_from_its_tags(template: Template) -> None:
    template.all_resources_properties(
        TEMPLATE, {"LaunchTemplateData": {"MetadataOptions": Match.object_like({"InstanceMetadataTags": "enabled"})}}
    )


@pytest.mark.parametrize("key", ["cost centre", "team/name", "..", "_index"])
def test_a_tag_with_which_no_builder_would_launch_is_refused(make_fleet: MakeFleet, key: str) -> None:
    fleet = make_fleet()

    cdk.Tags.of(fleet.node.root).add(key, "value")

    with pytest.raises(RuntimeError, match=r"letters, digits and \+-=.,_:@ alone; got " + re.escape(repr(key))):
        Template.from_stack(cdk.Stack.of(fleet))


def test_a_group_sends_at_least_three_heartbeats_before_it_times_out(template: Template) -> None:
    words = str(template.find_resources(TEMPLATE))

    assert words.count("HEARTBEAT_SECONDS=300") == len(Architecture)
    assert words.count("SETTLING_SECONDS=120") == len(Architecture)
