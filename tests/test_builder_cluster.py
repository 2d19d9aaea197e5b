"""The cluster of builders on EKS: who reaches it, who administers it, and what it keeps of what it does."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Template

from cdk_buildkit import BuilderCluster, ExistingCluster
from cdk_buildkit.instance_types import vcpus
from tests.eks_templates import applied

EXISTING = ExistingCluster(name="platform", security_group_id="sg-0123456789abcdef0")


@pytest.fixture(scope="module")
def template(synthesize: Callable[[Path], dict[str, Template]], root: Path) -> Template:
    return synthesize(root / "examples/eks.toml")["buildkit-cluster"]


@pytest.fixture(scope="module")
def properties(template: Template, readable: Callable[[Any], Any]) -> Mapping[str, Any]:
    (cluster,) = template.find_resources("AWS::EKS::Cluster").values()
    found: Mapping[str, Any] = readable(cluster["Properties"])
    return found


@pytest.fixture
def stack(make_app: Callable[[], cdk.App]) -> cdk.Stack:
    return cdk.Stack(make_app(), "cluster")


def vpc_of(stack: cdk.Stack) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        availability_zones=["eu-west-1a"],
        private_subnet_ids=["subnet-0123456789abcdef0"],
    )


def test_a_cluster_is_the_newest_with_auto_mode(properties: Mapping[str, Any]) -> None:
    assert properties["Version"] == "1.36"
    assert properties["ComputeConfig"]["Enabled"] is True
    assert properties["StorageConfig"] == {"BlockStorage": {"Enabled": True}}
    assert properties["KubernetesNetworkConfig"]["ElasticLoadBalancing"] == {"Enabled": True}
    # What it would install by itself, Auto Mode has already.
    assert properties["BootstrapSelfManagedAddons"] is False


def test_its_endpoint_is_in_the_vpc_alone(properties: Mapping[str, Any]) -> None:
    network = properties["ResourcesVpcConfig"]

    assert (network["EndpointPrivateAccess"], network["EndpointPublicAccess"]) == (True, False)
    assert network["SubnetIds"] == [f"<VpcBuildersSubnet{number}Subnet>" for number in (1, 2)]


def test_it_encrypts_secrets_with_a_key_of_its_own(template: Template, properties: Mapping[str, Any]) -> None:
    assert properties["EncryptionConfig"] == [
        {"Provider": {"KeyArn": "<ClusterSecretsKey.Arn>"}, "Resources": ["secrets"]}
    ]
    template.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})


def test_it_logs_all_that_its_control_plane_does(properties: Mapping[str, Any]) -> None:
    kinds = {each["Type"] for each in properties["Logging"]["ClusterLogging"]["EnabledTypes"]}

    assert kinds == {"api", "audit", "authenticator", "controllerManager", "scheduler"}


def test_only_who_is_named_and_what_applies_manifests_administers_it(
    template: Template, properties: Mapping[str, Any], readable: Callable[[Any], Any]
) -> None:
    entries = template.find_resources("AWS::EKS::AccessEntry").values()

    assert properties["AccessConfig"] == {
        "AuthenticationMode": "API",
        "BootstrapClusterCreatorAdminPermissions": False,
    }
    assert {readable(each["Properties"]["PrincipalArn"]) for each in entries} == {
        "arn:aws:iam::111122223333:role/platform",
        "<ClusterKubectlProviderHandlerServiceRole.Arn>",
    }


def test_what_applies_manifests_is_in_the_private_subnets(template: Template, readable: Callable[[Any], Any]) -> None:
    for function in template.find_resources("AWS::Lambda::Function").values():
        assert len(readable(function["Properties"]["VpcConfig"]["SubnetIds"])) == 2


def test_network_policies_are_switched_on(template: Template, readable: Callable[[Any], Any]) -> None:
    assert applied(template, readable)["ConfigMap/amazon-vpc-cni"]["data"] == {
        "enable-network-policy-controller": "true"
    }


def test_the_endpoint_is_reached_from_the_internet_where_that_is_asked_for_alone(stack: cdk.Stack) -> None:
    BuilderCluster(stack, "Cluster", vpc=vpc_of(stack), public_access_cidrs=["198.51.100.0/24"])

    (cluster,) = Template.from_stack(stack).find_resources("AWS::EKS::Cluster").values()
    network = cluster["Properties"]["ResourcesVpcConfig"]
    assert (network["EndpointPrivateAccess"], network["EndpointPublicAccess"]) == (True, True)
    assert network["PublicAccessCidrs"] == ["198.51.100.0/24"]


def test_another_version_is_refused(stack: cdk.Stack) -> None:
    with pytest.raises(ValueError, match=r"version is 1\.36, 1\.35, 1\.34 here; got '1\.20': take one of these"):
        BuilderCluster(stack, "Cluster", vpc=vpc_of(stack), version="1.20")


def test_a_version_whose_kubectl_is_not_installed_is_refused_with_the_package(
    stack: cdk.Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aws_cdk.lambda_layer_kubectl_v35", None)

    with pytest.raises(ValueError, match=r"`pip install aws-cdk\.lambda-layer-kubectl-v35`, or take another version"):
        BuilderCluster(stack, "Cluster", vpc=vpc_of(stack), version="1.35")


@pytest.mark.parametrize("setting", [{"admin_principals": ["arn"]}, {"public_access_cidrs": ["198.51.100.0/24"]}])
def test_access_to_an_existing_cluster_is_refused(stack: cdk.Stack, setting: Any) -> None:  # noqa: ANN401 - a keyword
    with pytest.raises(ValueError, match=r"an existing cluster keeps its owner's access; got `existing` together with"):
        BuilderCluster(stack, "Cluster", vpc=vpc_of(stack), existing=EXISTING, **setting)


def test_nothing_is_applied_to_an_existing_cluster_before_it_is_allowed(stack: cdk.Stack) -> None:
    cluster = BuilderCluster(stack, "Cluster", vpc=vpc_of(stack), existing=EXISTING)
    cluster.apply(stack, "Nothing")

    (manifest,) = Template.from_stack(stack).find_resources("Custom::AWSCDK-EKS-KubernetesResource").values()
    assert [each for each in manifest["DependsOn"] if each.startswith("ClusterKubectlAccess")]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("c7g.large", 2),
        ("t3.nano", 2),
        ("c7g.xlarge", 4),
        ("c7gd.2xlarge", 8),
        ("c7i.metal-24xl", 96),
        ("m5.metal", 896),
    ],
)
def test_the_processors_of_an_instance_type_are_told_by_its_size(name: str, number: int) -> None:
    assert vcpus(name) == number
