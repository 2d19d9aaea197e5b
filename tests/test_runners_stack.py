"""The settings of runners become the stack that they describe, beside the builders that they name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from app import define_stacks
from stacks.config import load_config

CONFIGURATION = f"""
[builders.main]
architectures = ["x86_64"]
prove_boot = false
[builders.nightly]
architectures = ["x86_64"]
prove_boot = false
cache = {{ read = ["main"] }}

[runner_tools]
buildx = {{ version = "v0.36.1", sha256 = {{ x86_64 = "{"a" * 64}" }} }}
ecr_credential_helper = {{ version = "0.12.0", sha256 = {{ x86_64 = "{"b" * 64}" }} }}

[runners.default]
builder = "main"
pull_requests = true
repositories = ["111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app"]
warm = {{ count = 2, owner = "example", repository = "app" }}
idle_timeout_minutes = 9
builder_architectures = ["x86_64"]
builder_timeout_minutes = 3
webhook = {{ access = "gateway", cidrs = ["198.51.100.0/24"] }}
setup = {{ access = "none" }}

[runners.default.vpc]
id = "vpc-89abcdef"
cidr = "10.1.0.0/16"
availability_zones = ["eu-west-1a"]
private_subnet_ids = ["subnet-cdef0123"]
"""


@pytest.fixture(scope="module")
def app(make_app: Callable[[], cdk.App], tmp_path_factory: pytest.TempPathFactory) -> cdk.App:
    """A deployment whose runners are in another VPC, synthesized."""
    path = tmp_path_factory.mktemp("runners") / "builders.toml"
    path.write_text(CONFIGURATION)
    app = make_app()
    define_stacks(app, load_config(path))
    app.synth()
    return app


@pytest.fixture(scope="module")
def templates(app: cdk.App) -> Mapping[str, Template]:
    """Its templates by stack name."""
    return {stack.stack_name: Template.from_json(stack.template) for stack in app.synth().stacks}


def test_the_builders_admit_the_other_vpcs_block_and_their_name_is_found_there(
    templates: Mapping[str, Template],
) -> None:
    templates["buildkit-builders-main"].has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {"SecurityGroupIngress": Match.array_with([Match.object_like({"CidrIp": "10.1.0.0/16", "FromPort": 1234})])},
    )
    templates["buildkit-network"].has_resource_properties(
        "AWS::Route53::HostedZone", {"VPCs": Match.array_with([Match.object_like({"VPCId": "vpc-89abcdef"})])}
    )


def test_no_other_fleet_of_builders_lets_runners_in(templates: Mapping[str, Template]) -> None:
    assert "10.1.0.0/16" not in json.dumps(templates["buildkit-builders-nightly"].to_json())


def test_a_job_may_push_to_the_repository_that_the_uri_names(
    templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    policies = templates["buildkit-runners-default"].find_resources("AWS::IAM::Policy")

    granted = [
        readable(statement["Resource"])
        for name, policy in policies.items()
        if name.startswith("FleetOnDemandRole")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "ecr:PutImage" in statement["Action"]
    ]
    assert granted == ["arn:<AWS::Partition>:ecr:eu-west-1:111122223333:repository/team/app"]


def test_the_webhook_takes_calls_of_the_given_blocks_and_the_setup_page_none(
    templates: Mapping[str, Template],
) -> None:
    template = templates["buildkit-runners-default"]

    (api,) = template.find_resources("AWS::ApiGateway::RestApi").values()
    assert "'aws:SourceIp': ['198.51.100.0/24']" in str(api["Properties"]["Policy"])
    template.resource_count_is("AWS::Lambda::Url", 0)


def test_a_job_connects_to_the_given_architectures_and_waits_for_so_long(templates: Mapping[str, Template]) -> None:
    built = json.dumps(templates["buildkit-runners-default"].to_json())

    for each in ("STACK=buildkit-builders-main", "ARCHITECTURES=x86_64", "TIMEOUT=3"):
        assert f"echo 'CDK_BUILDKIT_{each}' >> /home/runner/.env" in built


def test_runners_that_wait_are_of_the_repository(templates: Mapping[str, Template]) -> None:
    templates["buildkit-runners-default"].has_resource_properties(
        "Custom::WarmRunnerFill", {"count": 2, "owner": "example", "repo": "app"}
    )


def test_the_stack_says_what_a_job_asks_for(templates: Mapping[str, Template]) -> None:
    templates["buildkit-runners-default"].has_output("RunsOn", {"Value": "[self-hosted, buildkit]"})


def test_runners_for_pull_requests_are_warned_of_where_another_fleet_reads_what_they_build(app: cdk.App) -> None:
    metadata = json.loads((Path(app.outdir) / "buildkit-runners-default.metadata.json").read_text())

    (warning,) = [
        entry["data"]
        for entries in metadata.values()
        for entry in entries
        if entry["type"] == "aws:cdk:warning" and "runner group" in entry["data"]
    ]
    assert (
        "cache scope main. That is read by later builds of that fleet, buildkit-builders-nightly/Fleet/Role." in warning
    )
