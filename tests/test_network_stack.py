"""The network as a template: a new VPC as small as the builders need, or a given one left as it is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

GIVEN = """
[network]
zone_name = "buildkit.example.internal"
hosted_zone_id = "Z0123456789ABCDEFGHIJ"

[network.vpc]
id = "vpc-0123456789abcdef0"
cidr = "10.20.0.0/16"
availability_zones = ["eu-west-1a", "eu-west-1b"]
private_subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]

[builders.main]
clients = ["10.20.0.0/16"]
"""


@pytest.fixture(scope="module")
def template(default_templates: Mapping[str, Template]) -> Template:
    return default_templates["buildkit-network"]


@pytest.fixture(scope="module")
def given_templates(
    synthesize: Callable[[Path], dict[str, Template]], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Template]:
    path = tmp_path_factory.mktemp("given") / "builders.toml"
    path.write_text(GIVEN)
    return synthesize(path)


def test_a_new_vpc_has_one_nat_gateway_for_all_zones(template: Template) -> None:
    template.resource_count_is("AWS::EC2::NatGateway", 1)


def test_a_new_vpc_has_a_public_and_a_private_subnet_in_each_zone(template: Template) -> None:
    subnets = [each["Properties"] for each in template.find_resources("AWS::EC2::Subnet").values()]

    kinds = [
        (each["AvailabilityZone"]["Fn::Select"][0], each["CidrBlock"], each["MapPublicIpOnLaunch"]) for each in subnets
    ]
    assert sorted(kinds) == [
        (0, "10.0.0.0/24", False),
        (0, "10.0.64.0/18", False),
        (1, "10.0.1.0/24", False),
        (1, "10.0.128.0/18", False),
    ]


def test_s3_is_reached_over_a_gateway_endpoint_from_every_subnet(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    (endpoint,) = template.find_resources("AWS::EC2::VPCEndpoint").values()

    properties = readable(endpoint["Properties"])
    assert (properties["VpcEndpointType"], properties["ServiceName"]) == ("Gateway", "com.amazonaws.<AWS::Region>.s3")
    assert len(properties["RouteTableIds"]) == len(template.find_resources("AWS::EC2::RouteTable"))


def test_rejected_connections_are_logged_for_a_month(template: Template) -> None:
    template.has_resource_properties("AWS::EC2::FlowLog", {"ResourceType": "VPC", "TrafficType": "REJECT"})
    template.has_resource_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})


def test_the_new_zone_is_private_to_the_vpc(template: Template, readable: Callable[[Any], Any]) -> None:
    (zone,) = template.find_resources("AWS::Route53::HostedZone").values()

    assert readable(zone["Properties"]) == {
        "Name": "buildkit.buildkit.internal.",
        "VPCs": [{"VPCId": "<Vpc>", "VPCRegion": "<AWS::Region>"}],
    }


def test_a_new_network_takes_no_lambda_function(template: Template) -> None:
    template.resource_count_is("AWS::Lambda::Function", 0)


def test_nothing_is_made_where_vpc_and_zone_are_given(given_templates: Mapping[str, Template]) -> None:
    assert given_templates["buildkit-network"].to_json().get("Resources") is None


def test_builders_live_in_the_given_subnets(given_templates: Mapping[str, Template]) -> None:
    given_templates["buildkit-builders-main"].all_resources_properties(
        "AWS::AutoScaling::AutoScalingGroup",
        {"VPCZoneIdentifier": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]},
    )


def test_the_fleets_name_is_in_the_given_zone(given_templates: Mapping[str, Template]) -> None:
    given_templates["buildkit-builders-main"].has_resource_properties(
        "AWS::Route53::RecordSet", {"HostedZoneId": "Z0123456789ABCDEFGHIJ", "Name": "main.buildkit.example.internal."}
    )


def test_the_clients_of_the_configuration_are_let_in(given_templates: Mapping[str, Template]) -> None:
    given_templates["buildkit-builders-main"].has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "Clients of the builders",
            "SecurityGroupIngress": [
                Match.object_like({"CidrIp": "10.20.0.0/16", "FromPort": 1234, "ToPort": 1235, "IpProtocol": "tcp"})
            ],
        },
    )
