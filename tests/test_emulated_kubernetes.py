"""EKS in the emulated account: clusters, what is applied to them, and the roles of their service accounts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.emulator.aws import ACCOUNT, REGION, Aws
from local.emulator.process import Emulator, EmulatorError
from local.emulator.read_back import Difference, read_back

CLUSTER_ARN = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/builders"
MANIFEST = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "builders"}}]


def trust(**changes: str) -> dict[str, Any]:
    """What a role says of whom it trusts: one service account of one cluster."""
    tags = {
        "aws:RequestTag/eks-cluster-arn": CLUSTER_ARN,
        "aws:RequestTag/kubernetes-namespace": "builders",
        "aws:RequestTag/kubernetes-service-account": "builder",
        **changes,
    }
    return {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Condition": {"StringEquals": tags},
    }


def role(*statements: dict[str, Any]) -> dict[str, Any]:
    document = {"Version": "2012-10-17", "Statement": [*statements]}
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": document}}


def association(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::EKS::PodIdentityAssociation",
        "Properties": {
            "ClusterName": {"Ref": "Cluster"},
            "Namespace": "builders",
            "ServiceAccount": name,
            "RoleArn": {"Fn::GetAtt": ["Elsewhere" if name == "elsewhere" else "Role", "Arn"]},
        },
    }


TEMPLATE = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}},
        "Role": role(trust()),
        "Elsewhere": role(trust(**{"aws:RequestTag/kubernetes-namespace": "elsewhere"})),
        "Cluster": {
            "Type": "AWS::EKS::Cluster",
            "Properties": {
                "Name": "builders",
                "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "ResourcesVpcConfig": {"SubnetIds": [{"Ref": "Subnet"}]},
            },
        },
        "Builder": association("builder"),
        "OfElsewhere": association("elsewhere"),
        "Objects": {
            "Type": "Custom::AWSCDK-EKS-KubernetesResource",
            "Properties": {
                "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:kubectl",
                "ClusterName": {"Ref": "Cluster"},
                "Manifest": json.dumps(MANIFEST),
            },
        },
    },
    "Outputs": {
        "ClusterArn": {"Value": {"Fn::GetAtt": ["Cluster", "Arn"]}},
        "SecurityGroup": {"Value": {"Fn::GetAtt": ["Cluster", "ClusterSecurityGroupId"]}},
    },
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account with a cluster."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log", enforce_iam=False) as emulator:
        cloudformation = Aws(emulator.endpoint_url).client("cloudformation")
        for name, template in (("CDKToolkit", {"Resources": {}}), ("cluster", TEMPLATE)):
            change_set = cloudformation.create_change_set(
                StackName=name, ChangeSetName="create", ChangeSetType="CREATE", TemplateBody=json.dumps(template)
            )["Id"]
            cloudformation.execute_change_set(ChangeSetName=change_set)
        yield emulator


def test_a_cluster_has_its_arn_and_a_security_group_of_its_own(emulator: Emulator) -> None:
    aws = Aws(emulator.endpoint_url)
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="cluster")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    (group,) = aws.client("ec2").describe_security_groups(GroupIds=[outputs["SecurityGroup"]])["SecurityGroups"]

    assert outputs["ClusterArn"] == CLUSTER_ARN
    assert group["GroupName"] == "eks-cluster-sg-builders"


def test_what_is_applied_is_kept_as_it_was_declared(emulator: Emulator) -> None:
    (applied,) = (each for each in emulator.kubernetes() if each["type_name"].startswith("Custom::"))

    assert json.loads(applied["properties"]["Manifest"]) == MANIFEST
    assert applied["properties"]["ClusterName"] == "builders"


def test_a_pod_gets_the_role_of_its_service_account(emulator: Emulator) -> None:
    credentials = emulator.pod_credentials("builders", "builder")

    assert credentials["AccessKeyId"].startswith("ASIA")
    assert "Role" in credentials["RoleName"]


@pytest.mark.parametrize(
    ("service_account", "words"),
    [
        ("default", "the service account builders/default is associated with no role"),
        ("elsewhere", r"the role \S+ does not trust pods.eks.amazonaws.com with sts:AssumeRole"),
    ],
)
def test_a_pod_gets_no_other_role(emulator: Emulator, service_account: str, words: str) -> None:
    with pytest.raises(EmulatorError, match=words):
        emulator.pod_credentials("builders", service_account)


def test_a_cluster_is_read_back(emulator: Emulator, tmp_path: Path) -> None:
    changed = json.loads(json.dumps(TEMPLATE))
    changed["Resources"]["Builder"]["Properties"]["Namespace"] = "others"
    artifact = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "cluster.json"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {"cluster": artifact}}))
    (tmp_path / "cluster.json").write_text(json.dumps(changed))

    result = read_back(emulator.endpoint_url, tmp_path)

    assert result.differences == [Difference("cluster", "Builder", "Namespace", "others", "builders")]
    assert result.unchecked == {}
    assert result.compared["AWS::EKS::Cluster"] == 1
