"""Everything that a builder may do, pinned: whoever changes a word of it changes this file too."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template


def policy(fleet: str) -> dict[str, Any]:
    """The whole policy of a fleet's role."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Action": "s3:GetObject",
                "Effect": "Allow",
                "Resource": [
                    "arn:<AWS::Partition>:s3:::cdk-hnb659fds-assets-<AWS::AccountId>-<AWS::Region>/<hash>.zip",
                    "<ReleasesBucket.Arn>/buildkit/*",
                ],
            },
            {
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Effect": "Allow",
                "Resource": "<FleetLogs.Arn>",
            },
            {
                "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                "Effect": "Allow",
                "Resource": "<CertificatesServer>",
            },
            {
                "Action": [
                    "autoscaling:CompleteLifecycleAction",
                    "autoscaling:RecordLifecycleActionHeartbeat",
                    "autoscaling:SetInstanceHealth",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                ],
                "Condition": {
                    "StringEquals": {"aws:ResourceTag/cdk-buildkit:fleet": "<AWS::StackName>/<construct's address>"}
                },
                "Effect": "Allow",
                "Resource": "arn:<AWS::Partition>:autoscaling:<AWS::Region>:<AWS::AccountId>:"
                "autoScalingGroup:*:autoScalingGroupName/*",
            },
            {
                "Action": "cloudwatch:PutMetricData",
                "Condition": {"StringEquals": {"cloudwatch:namespace": "CdkBuildkit"}},
                "Effect": "Allow",
                "Resource": "*",
            },
            {
                "Action": [
                    "elasticloadbalancing:DescribeTargetHealth",
                    "ssm:UpdateInstanceInformation",
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                "Effect": "Allow",
                "Resource": "*",
            },
            {
                "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                "Effect": "Allow",
                "Resource": [f"<Arm64CacheBucket.Arn>/{fleet}/*", f"<X8664CacheBucket.Arn>/{fleet}/*"],
            },
            {
                "Action": "s3:ListBucket",
                "Effect": "Allow",
                "Resource": ["<Arm64CacheBucket.Arn>", "<X8664CacheBucket.Arn>"],
            },
            {
                "Action": "elasticloadbalancing:DeregisterTargets",
                "Effect": "Allow",
                "Resource": ["<FleetLoadBalancerArm64Targets>", "<FleetLoadBalancerX8664Targets>"],
            },
        ],
    }


@pytest.fixture(params=["main", "pull-requests"])
def fleet(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def template(default_templates: Mapping[str, Template], fleet: str) -> Template:
    return default_templates[f"buildkit-builders-{fleet}"]


def test_a_builder_may_do_this_and_nothing_else(template: Template, fleet: str, readable: Callable[[Any], Any]) -> None:
    (resource,) = of_the_fleet(template, "AWS::IAM::Policy")

    document = json.dumps(readable(resource["Properties"]["PolicyDocument"]))
    assert json.loads(re.sub(r"/c8[0-9a-f]{40}", "/<construct's address>", document)) == policy(fleet)
    assert readable(resource["Properties"]["Roles"]) == ["<FleetRole>"]


def test_only_instances_can_take_the_role_and_it_has_no_other_policy(template: Template) -> None:
    (role,) = of_the_fleet(template, "AWS::IAM::Role")

    assert set(role["Properties"]) == {"AssumeRolePolicyDocument", "Description"}
    assert role["Properties"]["AssumeRolePolicyDocument"] == {
        "Version": "2012-10-17",
        "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }


def test_nothing_else_in_the_stack_gives_the_builders_permissions(template: Template) -> None:
    resources = template.to_json()["Resources"]

    about = {
        name for name, each in resources.items() if "FleetRole" in str(each["Properties"]) and "Policy" in each["Type"]
    }
    assert about == {name for name in resources if name.startswith("FleetRoleDefaultPolicy")}


def test_every_builder_has_the_role(template: Template, readable: Callable[[Any], Any]) -> None:
    profiles = template.find_resources("AWS::IAM::InstanceProfile")
    templates = template.find_resources("AWS::EC2::LaunchTemplate").values()

    assert [readable(each["Properties"]["Roles"]) for each in profiles.values()] == [["<FleetRole>"]] * 2
    used = {
        each["Properties"]["LaunchTemplateData"]["IamInstanceProfile"]["Arn"]["Fn::GetAtt"][0] for each in templates
    }
    assert used == set(profiles)


def test_no_other_stack_uses_anything_of_the_fleet(default_templates: Mapping[str, Template], fleet: str) -> None:
    stack = f"buildkit-builders-{fleet}"

    elsewhere = [str(each.to_json()) for name, each in default_templates.items() if name != stack]
    assert not [each for each in elsewhere if f"{stack}:" in each]


def of_the_fleet(template: Template, kind: str) -> list[Any]:
    """The resources of a type that are the builders', and not their certificates' issuer's."""
    return [each for name, each in template.find_resources(kind).items() if name.startswith("FleetRole")]
