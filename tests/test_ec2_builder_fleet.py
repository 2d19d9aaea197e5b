"""The fleet as a template: what its builders are, who reaches them, and how others grant it and connect to it."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Match, Template

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderCertificates,
    BuilderScaling,
    BuildKitRelease,
    CacheBucket,
    CacheScope,
    Ec2BuilderFleet,
    ReleaseBucket,
    StoreVolume,
)

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
MAIN, NIGHTLY = CacheScope("main"), CacheScope("nightly")
MakeFleet = Callable[..., Ec2BuilderFleet]


@pytest.fixture(scope="module")
def fleet(make_fleet: MakeFleet) -> Ec2BuilderFleet:
    return make_fleet()


@pytest.fixture(scope="module")
def template(fleet: Ec2BuilderFleet) -> Template:
    return Template.from_stack(cdk.Stack.of(fleet))


def launch_templates(template: Template) -> Mapping[str, Any]:
    """The data of each architecture's launch template, by the image's or, for a given one, by the logical id's word."""
    found = template.find_resources("AWS::EC2::LaunchTemplate")
    return {
        next(each for each in Architecture if each.construct_id in name): resource["Properties"]["LaunchTemplateData"]
        for name, resource in found.items()
    }


def groups(template: Template) -> list[Any]:
    return [each["Properties"] for each in template.find_resources("AWS::AutoScaling::AutoScalingGroup").values()]


# What a builder is


def test_each_architecture_has_one_launch_template_and_one_group(template: Template) -> None:
    assert set(launch_templates(template)) == {ARM64, X86_64}
    assert len(groups(template)) == 2


def test_only_architectures_with_a_cache_have_builders(make_fleet: MakeFleet) -> None:
    template = Template.from_stack(cdk.Stack.of(make_fleet(architectures=(X86_64,))))

    assert set(launch_templates(template)) == {X86_64}
    template.resource_count_is("AWS::ElasticLoadBalancingV2::Listener", 1)


def test_metadata_needs_a_token_ends_at_the_host_and_tells_it_its_group(template: Template) -> None:
    for data in launch_templates(template).values():
        assert data["MetadataOptions"] == {
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "required",
            "InstanceMetadataTags": "enabled",
        }


def test_builders_have_no_public_address_and_no_key_pair(template: Template, readable: Callable[[Any], Any]) -> None:
    for data in launch_templates(template).values():
        assert readable(data["NetworkInterfaces"]) == [
            {"AssociatePublicIpAddress": False, "DeviceIndex": 0, "Groups": ["<FleetSecurityGroup.GroupId>"]}
        ]
        assert "KeyName" not in data


@pytest.mark.parametrize("architecture", Architecture)
def test_the_image_is_the_latest_amazon_linux_2023_at_each_launch(
    template: Template, architecture: Architecture
) -> None:
    assert launch_templates(template)[architecture]["ImageId"] == (
        f"resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}"
    )


def test_a_given_image_takes_the_place_of_the_latest(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(capacities={ARM64: BuilderCapacity(ami_id="ami-0123456789abcdef0")})

    templates = launch_templates(Template.from_stack(cdk.Stack.of(fleet)))
    assert templates[ARM64]["ImageId"] == "ami-0123456789abcdef0"
    assert templates[X86_64]["ImageId"].startswith("resolve:ssm:")


def test_with_local_nvme_the_root_is_the_only_volume(template: Template) -> None:
    for data in launch_templates(template).values():
        assert data["BlockDeviceMappings"] == [
            {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True, "VolumeSize": 20, "VolumeType": "gp3"}}
        ]


def test_one_type_without_local_nvme_gives_the_architecture_a_store_volume(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(
        capacities={ARM64: BuilderCapacity(instance_types=["c7gd.2xlarge", "c7g.2xlarge"])},
        store_volume=StoreVolume(size=cdk.Size.gibibytes(100), iops=4000, throughput=300),
    )

    templates = launch_templates(Template.from_stack(cdk.Stack.of(fleet)))
    assert templates[ARM64]["BlockDeviceMappings"][1:] == [
        {
            "DeviceName": "/dev/sdb",
            "Ebs": {
                "DeleteOnTermination": True,
                "Encrypted": True,
                "Iops": 4000,
                "Throughput": 300,
                "VolumeSize": 100,
                "VolumeType": "gp3",
            },
        }
    ]
    assert len(templates[X86_64]["BlockDeviceMappings"]) == 1


# The groups


def test_instance_types_are_tried_in_their_order_on_demand(template: Template) -> None:
    for group in groups(template):
        assert group["MixedInstancesPolicy"]["InstancesDistribution"] == {
            "OnDemandAllocationStrategy": "prioritized",
            "OnDemandBaseCapacity": 0,
            "OnDemandPercentageAboveBaseCapacity": 100,
            "SpotAllocationStrategy": "price-capacity-optimized",
        }
    overrides = [group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"] for group in groups(template)]
    assert [[each["InstanceType"] for each in types] for types in overrides] == [
        ["c7gd.2xlarge", "m7gd.2xlarge", "c6gd.2xlarge", "m6gd.2xlarge"],
        ["c6id.2xlarge", "m6id.2xlarge", "c5d.2xlarge", "m5d.2xlarge"],
    ]


def test_a_spot_fleet_without_its_fallback_has_nothing_on_demand(make_fleet: MakeFleet) -> None:
    scaling = BuilderScaling(on_demand_fallback=False)
    fleet = make_fleet(architectures=(ARM64,), capacity=BuilderCapacity(spot=True), scaling=scaling)

    (group,) = groups(Template.from_stack(cdk.Stack.of(fleet)))
    assert group["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 0
    assert group["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandBaseCapacity"] == 0


def test_the_capacities_are_the_architectures_own(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(capacities={ARM64: BuilderCapacity(min_capacity=0, max_capacity=3)})

    sizes = [(group["MinSize"], group["MaxSize"]) for group in groups(Template.from_stack(cdk.Stack.of(fleet)))]
    assert sizes == [("0", "3"), ("1", "8")]


def test_a_deployment_leaves_the_number_of_builders_alone(template: Template) -> None:
    for group in groups(template):
        assert "DesiredCapacity" not in group


def test_only_ec2_judges_a_builders_health(template: Template) -> None:
    for group in groups(template):
        assert (group["HealthCheckType"], group["HealthCheckGracePeriod"]) == ("EC2", 300)


def test_builders_live_in_the_private_subnets(template: Template, readable: Callable[[Any], Any]) -> None:
    for group in groups(template):
        assert readable(group["VPCZoneIdentifier"]) == ["<VpcPrivateSubnet1Subnet>", "<VpcPrivateSubnet2Subnet>"]


# The address


def test_the_load_balancer_is_internal_spans_zones_and_has_a_security_group(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    (balancer,) = template.find_resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()

    properties = readable(balancer["Properties"])
    assert (properties["Scheme"], properties["Type"]) == ("internal", "network")
    assert properties["SecurityGroups"] == ["<FleetLoadBalancerSecurityGroup.GroupId>"]
    assert properties["Subnets"] == ["<VpcPrivateSubnet1Subnet>", "<VpcPrivateSubnet2Subnet>"]
    assert {"Key": "load_balancing.cross_zone.enabled", "Value": "true"} in properties["LoadBalancerAttributes"]


@pytest.mark.parametrize(("port", "architecture"), [(1234, X86_64), (1235, ARM64)])
def test_each_architecture_has_a_port_that_leads_to_its_builders_and_may_be_silent_for_long(
    template: Template, readable: Callable[[Any], Any], port: int, architecture: Architecture
) -> None:
    listeners = [
        readable(each["Properties"])
        for each in template.find_resources("AWS::ElasticLoadBalancingV2::Listener").values()
    ]

    (listener,) = (each for each in listeners if each["Port"] == port)
    target_group = f"<FleetLoadBalancer{architecture.construct_id}Targets>"
    assert listener["DefaultActions"] == [{"TargetGroupArn": target_group, "Type": "forward"}]
    assert listener["Protocol"] == "TCP"
    assert listener["ListenerAttributes"] == [{"Key": "tcp.idle_timeout.seconds", "Value": "6000"}]
    (group,) = (each for each in groups(template) if readable(each["TargetGroupARNs"]) == [target_group])
    template_reference = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert readable(template_reference["LaunchTemplateId"]) == f"<Fleet{architecture.construct_id}Template>"


def test_a_target_group_cuts_no_running_build(make_fleet: MakeFleet) -> None:
    template = Template.from_stack(cdk.Stack.of(make_fleet(longest_build=timedelta(minutes=40))))

    for group in template.find_resources("AWS::ElasticLoadBalancingV2::TargetGroup").values():
        attributes = {each["Key"]: each["Value"] for each in group["Properties"]["TargetGroupAttributes"]}
        assert attributes == {
            "deregistration_delay.connection_termination.enabled": "false",
            "deregistration_delay.timeout_seconds": "2400",
            "target_health_state.unhealthy.connection_termination.enabled": "false",
            "target_health_state.unhealthy.draining_interval_seconds": "2400",
        }


def test_targets_are_instances_whose_agent_is_asked(template: Template) -> None:
    template.all_resources_properties(
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        {
            "HealthCheckIntervalSeconds": 5,
            "HealthCheckPath": "/health",
            "HealthCheckPort": "1236",
            "HealthCheckProtocol": "HTTP",
            "HealthyThresholdCount": 2,
            "Matcher": {"HttpCode": "200"},
            "Port": 1234,
            "Protocol": "TCP",
            "TargetType": "instance",
            "UnhealthyThresholdCount": 2,
        },
    )


def test_the_fleets_name_leads_to_the_load_balancer(
    fleet: Ec2BuilderFleet, template: Template, readable: Callable[[Any], Any]
) -> None:
    (record,) = template.find_resources("AWS::Route53::RecordSet").values()

    assert fleet.domain_name == "main.buildkit.internal"
    assert record["Properties"]["Name"] == "main.buildkit.internal."
    assert "<FleetLoadBalancer.DNSName>" in readable(record["Properties"]["AliasTarget"]["DNSName"])


# Who reaches it


def test_nobody_reaches_a_new_fleet(template: Template, readable: Callable[[Any], Any]) -> None:
    ingress = template.find_resources("AWS::EC2::SecurityGroupIngress").values()

    assert [readable(each["Properties"]) for each in ingress] == [
        {
            "Description": description,
            "FromPort": port,
            "GroupId": "<FleetSecurityGroup.GroupId>",
            "IpProtocol": "tcp",
            "SourceSecurityGroupId": "<FleetLoadBalancerSecurityGroup.GroupId>",
            "ToPort": port,
        }
        for port, description in ((1234, "Clients, through the load balancer"), (1236, "Health checks"))
    ]
    for group in template.find_resources("AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]


def test_the_load_balancer_reaches_only_the_builders(template: Template, readable: Callable[[Any], Any]) -> None:
    egress = template.find_resources("AWS::EC2::SecurityGroupEgress").values()

    assert [
        (readable(each["Properties"]["DestinationSecurityGroupId"]), each["Properties"]["FromPort"]) for each in egress
    ] == [("<FleetSecurityGroup.GroupId>", 1234), ("<FleetSecurityGroup.GroupId>", 1236)]
    balancers = template.find_resources(
        "AWS::EC2::SecurityGroup", {"Properties": {"SecurityGroupEgress": Match.absent()}}
    )
    assert ["LoadBalancer" in name for name in balancers] == [True]


def test_a_construct_in_another_stack_is_let_in_on_every_architectures_port(make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    other = stack_beside(fleet, "runners")
    clients = ec2.SecurityGroup(other, "Clients", vpc=fleet_vpc(fleet))

    clients.connections.allow_to_default_port(fleet)

    Template.from_stack(other).has_resource_properties(
        "AWS::EC2::SecurityGroupIngress",
        {
            "FromPort": 1234,
            "ToPort": 1235,
            "IpProtocol": "tcp",
            "GroupId": {"Fn::ImportValue": Match.string_like_regexp("FleetLoadBalancerSecurityGroup")},
            "SourceSecurityGroupId": {"Fn::GetAtt": [Match.string_like_regexp("Clients"), "GroupId"]},
        },
    )


def test_an_address_block_is_let_in_through_the_load_balancer(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(architectures=(ARM64,))

    fleet.connections.allow_default_port_from(ec2.Peer.ipv4("10.0.0.0/16"))

    Template.from_stack(cdk.Stack.of(fleet)).has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "Clients of the builders",
            "SecurityGroupIngress": [
                Match.object_like({"CidrIp": "10.0.0.0/16", "FromPort": 1235, "ToPort": 1235, "IpProtocol": "tcp"})
            ],
        },
    )


def test_a_construct_in_another_stack_grants_the_builders_role(make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    other = stack_beside(fleet, "images")
    repository = ecr.Repository(other, "Images")

    repository.grant_pull_push(fleet)

    Template.from_stack(cdk.Stack.of(fleet)).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with([Match.object_like({"Action": Match.array_with(["ecr:PutImage"])})])
            },
            "Roles": [{"Ref": Match.string_like_regexp("FleetRole")}],
        },
    )


def test_a_scope_that_is_only_read_cannot_be_written(make_fleet: MakeFleet, readable: Callable[[Any], Any]) -> None:
    template = Template.from_stack(cdk.Stack.of(make_fleet(architectures=(ARM64,), read=[NIGHTLY])))

    (policy,) = (
        each for name, each in template.find_resources("AWS::IAM::Policy").items() if name.startswith("FleetRole")
    )
    statements = readable(policy["Properties"]["PolicyDocument"]["Statement"])
    (read,) = (each for each in statements if each["Action"] == "s3:GetObject")
    (written,) = (each for each in statements if "s3:PutObject" in each["Action"])
    assert "<Arm64CacheBucket.Arn>/nightly/*" in read["Resource"]
    assert written["Resource"] == "<Arm64CacheBucket.Arn>/main/*"


def test_a_fleet_synthesizes_in_an_app_without_any_feature_flag(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = cdk.Stack(cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out"))), "builders")
    vpc = ec2.Vpc(stack, "Vpc")

    Ec2BuilderFleet(
        stack,
        "Fleet",
        vpc=vpc,
        zone=route53.PrivateHostedZone(stack, "Zone", vpc=vpc, zone_name="buildkit.internal"),
        record_name="main",
        caches={ARM64: CacheBucket(stack, "Cache", scopes=[MAIN])},
        write=MAIN,
    )

    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::EC2::LaunchTemplate", {"LaunchTemplateData": {"MetadataOptions": {"HttpTokens": "required"}}}
    )


def test_a_fleets_certificates_are_for_its_name_and_a_client_is_granted_what_connecting_takes_alone(
    make_fleet: MakeFleet, readable: Callable[[Any], Any]
) -> None:
    fleet = make_fleet()
    client = iam.Role(cdk.Stack.of(fleet), "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))

    fleet.grant_connect(client)

    template = Template.from_stack(cdk.Stack.of(fleet))
    functions = template.find_resources("AWS::Lambda::Function")
    (issuer,) = (each for name, each in functions.items() if name.startswith("FleetCertificates"))
    (policy,) = (
        each for name, each in template.find_resources("AWS::IAM::Policy").items() if name.startswith("Client")
    )
    assert issuer["Properties"]["Environment"]["Variables"]["DOMAIN_NAME"] == "main.buildkit.internal"
    assert readable(policy["Properties"]["PolicyDocument"]["Statement"]) == [
        {
            "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
            "Effect": "Allow",
            "Resource": "<FleetCertificatesClient>",
        },
        {
            "Action": "lambda:InvokeFunction",
            "Effect": "Allow",
            "Resource": ["<FleetCacheNamesFunction.Arn>", "<FleetCacheNamesFunction.Arn>:*"],
        },
        {
            "Action": "cloudformation:DescribeStacks",
            "Effect": "Allow",
            "Resource": "arn:<AWS::Partition>:cloudformation:<AWS::Region>:<AWS::AccountId>:stack/builders/*",
        },
    ]


def test_builders_are_replaced_when_their_certificates_are_revoked(make_fleet: MakeFleet) -> None:
    template = Template.from_stack(cdk.Stack.of(make_fleet()))

    custom_resources = template.find_resources("AWS::CloudFormation::CustomResource")
    (issued,) = (name for name in custom_resources if name.startswith("FleetCertificates"))
    for launch_template in template.find_resources("AWS::EC2::LaunchTemplate").values():
        assert f"['{issued}', 'Revision']" in str(launch_template["Properties"]["LaunchTemplateData"]["UserData"])


def test_builders_boot_from_a_bucket_of_the_fleets_own_or_from_a_given_one(
    make_fleet: MakeFleet, make_app: Callable[[], cdk.App]
) -> None:
    own = Template.from_stack(cdk.Stack.of(make_fleet(architectures=(ARM64,))))
    stack = cdk.Stack(make_app(), "releases")
    given = ReleaseBucket(stack, "Releases")

    with_given = Template.from_stack(cdk.Stack.of(make_fleet(stack=stack, releases=given)))

    for template, architectures in ((own, [ARM64]), (with_given, [ARM64, X86_64])):
        (copied,) = (
            name
            for name in template.find_resources("AWS::CloudFormation::CustomResource")
            if name.removeprefix("Fleet").startswith("Releases")
        )
        templates = launch_templates(template)
        assert list(templates) == architectures
        for architecture, data in templates.items():
            key = f"/buildkit/v0.31.2/linux-{Architecture(architecture).oci_name}/"
            assert f"BUILDKIT_ARCHIVE=s3://', {{'Fn::GetAtt': ['{copied}', 'Bucket']}}, '{key}" in str(data["UserData"])


# Refusals


def test_an_architecture_whose_archive_is_not_in_the_given_bucket_is_refused(
    make_fleet: MakeFleet, make_app: Callable[[], cdk.App]
) -> None:
    stack = cdk.Stack(make_app(), "releases")

    with pytest.raises(ValueError, match="holds archives for arm64; got x86_64: add it to its architectures"):
        make_fleet(stack=stack, releases=ReleaseBucket(stack, "Releases", architectures=[ARM64]))


def test_certificates_for_another_name_are_refused(make_fleet: MakeFleet, make_app: Callable[[], cdk.App]) -> None:
    others = BuilderCertificates(cdk.Stack(make_app(), "other"), "Certificates", domain_name="review.buildkit.internal")

    with pytest.raises(ValueError, match=r"its own name, main\.buildkit\.internal; got certificates for review\.build"):
        make_fleet(certificates=others)


def test_builders_that_could_outlive_their_certificate_are_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match="got 26 days with a server_life of 90 days: lower it to 25 days"):
        make_fleet(max_instance_lifetime=cdk.Duration.days(26))


def test_a_fleet_without_a_cache_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match=r"got caches for \[\], capacities for \[\]: give a CacheBucket for each"):
        make_fleet(architectures=())


def test_a_capacity_without_a_cache_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(
        ValueError, match=r"got caches for \['arm64'\], capacities for \['x86_64'\]: give a CacheBucket"
    ):
        make_fleet(architectures=(ARM64,), capacities={X86_64: BuilderCapacity()})


def test_a_scope_that_the_buckets_do_not_hold_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match="the cache bucket holds the scopes main, nightly; got 'other'"):
        make_fleet(write=CacheScope("other"))


def test_builds_longer_than_a_load_balancer_waits_are_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match=r"longest_build is at most 1:00:00, .*; got 2:00:00: lower it"):
        make_fleet(longest_build=timedelta(hours=2))


def test_an_instance_type_of_another_architecture_is_refused(make_fleet: MakeFleet) -> None:
    with pytest.raises(ValueError, match=r"arm64 builders are of that architecture; got c6id\.large: name for example"):
        make_fleet(capacities={ARM64: BuilderCapacity(instance_types=["c6id.large"])})


@pytest.mark.parametrize(
    ("capacity", "words"),
    [
        ({"min_capacity": 9}, "got min_capacity 9, max_capacity 8: lower the one or raise the other"),
        ({"min_capacity": -1}, "got min_capacity -1, max_capacity 8"),
        ({"min_capacity": 0, "max_capacity": 0}, "got min_capacity 0, max_capacity 0"),
        ({"instance_types": []}, "at least one instance type; got none: leave instance_types out or name one"),
    ],
)
def test_an_impossible_capacity_is_refused(capacity: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BuilderCapacity(**capacity)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"size": cdk.Size.gibibytes(19)}, "size in GiB is 20 to 65536 here; got 19: move it inside"),
        ({"iops": 2999}, "iops is 3000 to 80000 here; got 2999"),
        ({"size": cdk.Size.gibibytes(20), "iops": 10001}, "iops is 3000 to 10000 here; got 10001"),
        ({"throughput": 1501}, "throughput in MiB/s is 125 to 1500 here; got 1501"),
    ],
)
def test_a_volume_that_ebs_does_not_offer_is_refused(volume: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StoreVolume(**volume)


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ({"url": "http://example.com/{architecture}"}, "begins with https:// and holds {architecture}"),
        ({"url": "https://example.com/buildkit"}, "put {architecture} where the archive's name says amd64 or arm64"),
        ({"url": "https://me:SECRET@example.com/{architecture}"}, "no user's name, .* got one: take a server"),
        ({"sha256": {ARM64: "ABC"}}, "the SHA-256 of the arm64 archive is 64 hexadecimal digits; got 'ABC'"),
    ],
)
def test_a_release_that_cannot_be_fetched_or_checked_is_refused(release: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BuildKitRelease(**release)


def fleet_vpc(fleet: Ec2BuilderFleet) -> ec2.IVpc:
    """The VPC of a fleet's stack."""
    vpc = cdk.Stack.of(fleet).node.find_child("Vpc")
    assert isinstance(vpc, ec2.Vpc)
    return vpc


def stack_beside(fleet: Ec2BuilderFleet, name: str) -> cdk.Stack:
    """Another stack in the fleet's app."""
    app = cdk.Stack.of(fleet).node.root
    assert isinstance(app, cdk.App)
    return cdk.Stack(app, name)
