"""EKS clusters, who may use them, and what is applied to them, kept as it was declared: no control plane runs.

The functions that would apply manifests are not invoked: `kubectl` has nobody here to talk to. What was applied is read
through `control`, and run by `local.kubernetes`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType
from local.emulator.clusters import ASSOCIATION, OBJECTS, Record, cluster_arn, records

_CHART = "Custom::AWSCDK-EKS-HelmChart"


def _create_cluster(declaration: Declaration) -> Provisioned:
    name, ec2 = declaration.properties.get("Name", declaration.name(100)), declaration.aws.client("ec2")
    subnets = declaration.properties["ResourcesVpcConfig"]["SubnetIds"]
    (vpc,) = {each["VpcId"] for each in ec2.describe_subnets(SubnetIds=subnets)["Subnets"]}
    # EKS makes one for the nodes, and the stack is told of it.
    group = ec2.create_security_group(
        GroupName=f"eks-cluster-sg-{name}", Description="EKS created security group", VpcId=vpc
    )["GroupId"]
    identity = hashlib.sha256(name.encode()).hexdigest()[:32].upper()
    encryption = declaration.properties.get("EncryptionConfig", [])
    return _keep(
        declaration,
        name,
        {
            "Arn": cluster_arn(name),
            "CertificateAuthorityData": "",
            "ClusterSecurityGroupId": group,
            "EncryptionConfigKeyArn": encryption[0]["Provider"]["KeyArn"] if encryption else "",
            "Endpoint": f"https://{identity}.gr7.{REGION}.eks.amazonaws.com",
            "OpenIdConnectIssuerUrl": f"https://oidc.eks.{REGION}.amazonaws.com/id/{identity}",
        },
    )


def _delete_cluster(declaration: Declaration, physical_id: str) -> None:
    group = records[physical_id].attributes["ClusterSecurityGroupId"]
    declaration.aws.client("ec2").delete_security_group(GroupId=group)
    _forget(declaration, physical_id)


def _create_in_cluster(identify: Callable[[Declaration], str]) -> Callable[[Declaration], Provisioned]:
    def create(declaration: Declaration) -> Provisioned:
        identifier = identify(declaration)
        arn = f"arn:aws:eks:{REGION}:{ACCOUNT}:{declaration.type_name.rpartition('::')[2].lower()}/{identifier}"
        attributes = {"Arn": arn, "AccessEntryArn": arn, "AssociationArn": arn, "AssociationId": identifier}
        return _keep(declaration, identifier, attributes)

    return create


def _apply(declaration: Declaration) -> Provisioned:
    if declaration.type_name == OBJECTS:
        json.loads(declaration.properties["Manifest"])  # refused here, as `kubectl` refuses it
    return _keep(declaration, declaration.name(128), {})


def _apply_again(declaration: Declaration, _former: Declaration, physical_id: str) -> Provisioned:
    return _keep(declaration, physical_id, {})


def _keep(declaration: Declaration, physical_id: str, attributes: Mapping[str, Any]) -> Provisioned:
    properties = {name: declaration.properties[name] for name in declaration.properties}
    records[physical_id] = Record(type_name=declaration.type_name, properties=properties, attributes=attributes)
    return Provisioned(physical_id, attributes)


def _forget(_: Declaration, physical_id: str) -> None:
    del records[physical_id]


TYPES = {
    "AWS::EKS::Cluster": ResourceType(_create_cluster, _delete_cluster),
    "AWS::EKS::AccessEntry": ResourceType(
        _create_in_cluster(lambda each: f"{each.properties['PrincipalArn']}|{each.properties['ClusterName']}"), _forget
    ),
    "AWS::EKS::Addon": ResourceType(
        _create_in_cluster(lambda each: f"{each.properties['ClusterName']}|{each.properties['AddonName']}"), _forget
    ),
    ASSOCIATION: ResourceType(_create_in_cluster(lambda each: f"a-{each.name(60)}"), _forget),
    OBJECTS: ResourceType(_apply, _forget, _apply_again),
    _CHART: ResourceType(_apply, _forget, _apply_again),
}
