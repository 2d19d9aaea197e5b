"""A deploy proves its host, as the template says it: what is launched, who waits for it, and what the function may."""

from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Match, Template

from cdk_buildkit import Architecture, BuilderCapacity, CacheBucket, CacheScope, Ec2BuilderFleet
from stacks.config import load_config

GROUP = "AWS::AutoScaling::AutoScalingGroup"
PROOF = "AWS::CloudFormation::CustomResource"
FUNCTION = "AWS::Lambda::Function"

MakeTemplate = Callable[..., Template]
Readable = Callable[[Any], Any]


@pytest.fixture(scope="module")
def make_template(make_app: Callable[[], cdk.App]) -> MakeTemplate:
    """Make the template of a fleet with these props and a VPC in one stack."""

    def make_template(**props: Any) -> Template:  # noqa: ANN401 - any prop
        stack = cdk.Stack(make_app(), "builders")
        vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
        scope = CacheScope("main")
        Ec2BuilderFleet(
            stack,
            "Fleet",
            vpc=vpc,
            zone=route53.PrivateHostedZone(stack, "Zone", vpc=vpc, zone_name="buildkit.internal"),
            record_name="main",
            caches={each: CacheBucket(stack, each.construct_id, scopes=[scope]) for each in Architecture},
            write=scope,
            **props,
        )
        return Template.from_stack(stack)

    return make_template


@pytest.fixture(scope="module")
def template(make_template: MakeTemplate) -> Template:
    return make_template()


def groups(template: Template, *, of_the_proof: bool) -> dict[str, Any]:
    """The groups of the fleet's builders or of its proof, by logical id."""
    found = template.find_resources(GROUP)
    return {name: each for name, each in found.items() if name.startswith("FleetBootProof") is of_the_proof}


def proofs(template: Template) -> dict[str, Any]:
    found = template.find_resources(PROOF)
    return {name: each for name, each in found.items() if name.startswith("FleetBootProof")}


def prover(template: Template) -> Any:  # noqa: ANN401 - a resource
    (function,) = template.find_resources(
        FUNCTION, {"Properties": {"Handler": "cdk_buildkit.handlers.proof.index.handler"}}
    ).values()
    return function


@pytest.mark.parametrize("architecture", Architecture)
def test_builders_wait_for_the_proof_of_their_architecture(template: Template, architecture: Architecture) -> None:
    (builders,) = (
        each for name, each in groups(template, of_the_proof=False).items() if architecture.construct_id in name
    )

    waited_for = [proofs(template)[name] for name in builders["DependsOn"] if name in proofs(template)]
    (proof,) = waited_for
    assert architecture.construct_id in proof["Properties"]["AutoScalingGroup"]["Ref"]


def test_the_proof_launches_exactly_what_the_fleet_launches(template: Template) -> None:
    for name, proof in groups(template, of_the_proof=True).items():
        architecture = next(each for each in Architecture if each.construct_id in name)
        (builders,) = (
            each for key, each in groups(template, of_the_proof=False).items() if architecture.construct_id in key
        )
        for launched in ("MixedInstancesPolicy", "VPCZoneIdentifier"):
            assert proof["Properties"][launched] == builders["Properties"][launched]


def test_the_proof_enters_as_every_builder_does_and_no_client_reaches_it(template: Template) -> None:
    (builders, *_) = groups(template, of_the_proof=False).values()
    (tag,) = (tag for tag in builders["Properties"]["Tags"] if tag["Key"] == "cdk-buildkit:fleet")
    (launching, _) = builders["Properties"]["LifecycleHookSpecificationList"]

    for proof in groups(template, of_the_proof=True).values():
        assert proof["Properties"]["LifecycleHookSpecificationList"] == [launching]
        assert launching["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
        assert tag in proof["Properties"]["Tags"]
        assert "TargetGroupARNs" not in proof["Properties"]


def test_only_a_builder_of_the_proof_is_told_so_by_a_tag(template: Template) -> None:
    tag = {"Key": "cdk-buildkit:proof", "Value": "true", "PropagateAtLaunch": True}

    for of_the_proof in (True, False):
        for each in groups(template, of_the_proof=of_the_proof).values():
            assert (tag in each["Properties"]["Tags"]) is of_the_proof


def test_the_groups_of_the_proof_are_empty_but_for_it(template: Template) -> None:
    sizes = [
        (each["Properties"]["MinSize"], each["Properties"]["MaxSize"], each["Properties"].get("DesiredCapacity"))
        for each in groups(template, of_the_proof=True).values()
    ]

    assert sizes == [("0", "1", None)] * 2
    followed = [
        each["Properties"]["AutoScalingGroupName"]["Ref"]
        for each in template.find_resources("AWS::AutoScaling::ScalingPolicy").values()
    ]
    assert not set(followed) & set(groups(template, of_the_proof=True))


def test_what_is_launched_differently_asks_for_a_proof(make_template: MakeTemplate, template: Template) -> None:
    capacity = BuilderCapacity(instance_types=["c7gd.4xlarge"], spot=True)
    (proof,) = (
        each
        for name, each in proofs(make_template(capacities={Architecture.ARM64: capacity})).items()
        if "Arm64" in name
    )
    (former,) = (each for name, each in proofs(template).items() if "Arm64" in name)

    assert former["Properties"]["LaunchTemplateVersion"]["Fn::GetAtt"][1] == "LatestVersionNumber"
    assert proof["Properties"]["InstanceTypes"] == ["c7gd.4xlarge"]
    assert (former["Properties"]["Spot"], proof["Properties"]["Spot"]) == (False, True)
    assert len(former["Properties"]["Subnets"]) == 2


def test_the_proof_waits_for_what_a_boot_needs(template: Template) -> None:
    routes = template.find_resources("AWS::EC2::Route", {"Properties": {"NatGatewayId": Match.any_value()}})
    (policy,) = template.find_resources(
        "AWS::IAM::Policy", {"Properties": {"PolicyName": Match.string_like_regexp("^FleetRole")}}
    )

    for proof in proofs(template).values():
        assert set(routes) <= set(proof["DependsOn"])
    for group in groups(template, of_the_proof=True).values():
        assert policy in group["DependsOn"]


def test_the_function_may_do_this_and_nothing_else(template: Template, readable: Readable) -> None:
    (policy,) = (
        each for name, each in template.find_resources("AWS::IAM::Policy").items() if name.startswith("FleetBootProof")
    )
    group = "arn:<AWS::Partition>:autoscaling:<AWS::Region>:<AWS::AccountId>:autoScalingGroup:*:autoScalingGroupName/"

    assert readable(policy["Properties"]["PolicyDocument"]["Statement"]) == [
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Effect": "Allow",
            "Resource": "<FleetBootProofProverLog.Arn>",
        },
        {
            "Action": [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeLaunchTemplateVersions",
            ],
            "Effect": "Allow",
            "Resource": "*",
        },
        {
            "Action": "autoscaling:SetDesiredCapacity",
            "Effect": "Allow",
            "Resource": [f"{group}<FleetBootProofArm64GroupASG>", f"{group}<FleetBootProofX8664GroupASG>"],
        },
    ]


def test_the_function_has_time_for_the_slowest_boot_and_its_end(template: Template) -> None:
    (group, *_) = groups(template, of_the_proof=True).values()
    (hook,) = group["Properties"]["LifecycleHookSpecificationList"]
    settings = prover(template)["Properties"]["Environment"]["Variables"]
    boot, removal = int(settings["BOOT_SECONDS"]), int(settings["REMOVAL_SECONDS"])

    assert int(settings["LAUNCH_SECONDS"]) < boot
    assert hook["HeartbeatTimeout"] + 60 <= boot
    assert removal + boot + removal + 30 <= prover(template)["Properties"]["Timeout"] <= 900
    for proof in proofs(template).values():
        assert prover(template)["Properties"]["Timeout"] < proof["Properties"]["ServiceTimeout"]


def test_without_the_proof_nothing_is_there_of_it(make_template: MakeTemplate) -> None:
    template = make_template(prove_boot=False)

    assert "BootProof" not in str(template.to_json())
    template.resource_count_is(GROUP, 2)


def test_the_setting_leaves_it_out_of_one_fleet(
    synthesize: Callable[[Any], Mapping[str, Template]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("unproven") / "builders.toml"
    path.write_text("[builders.main]\n[builders.pull-requests]\nprove_boot = false\n")

    templates = synthesize(path)

    assert [each.prove_boot for each in load_config(path).builders.values()] == [True, False]
    assert proofs(templates["buildkit-builders-main"])
    assert not proofs(templates["buildkit-builders-pull-requests"])
