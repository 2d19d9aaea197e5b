"""Security groups and their rules."""

from collections.abc import Mapping
from typing import Any

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only

_RULE = {"CidrIp", "CidrIpv6", "Description", "DestinationSecurityGroupId", "FromPort", "GroupId", "IpProtocol"} | {
    "SourceSecurityGroupId",
    "ToPort",
}


def _permission(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a rule into an entry of the interface's IpPermissions."""
    unknown = rule.keys() - _RULE
    if unknown:
        raise ValueError(f"a rule with {', '.join(sorted(unknown))} is not emulated")
    description = only(rule, "Description")
    permission = only(rule, "IpProtocol", "FromPort", "ToPort")
    if "CidrIp" in rule:
        permission["IpRanges"] = [{"CidrIp": rule["CidrIp"], **description}]
    if "CidrIpv6" in rule:
        permission["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **description}]
    group = rule.get("SourceSecurityGroupId", rule.get("DestinationSecurityGroupId"))
    if group:
        permission["UserIdGroupPairs"] = [{"GroupId": group, **description}]
    return permission


def _create_group(declaration: Declaration) -> Provisioned:
    ec2, properties = declaration.aws.client("ec2"), declaration.properties
    tags = properties.get("Tags")
    group = ec2.create_security_group(
        GroupName=properties.get("GroupName", declaration.name(255)),
        Description=properties["GroupDescription"],
        VpcId=properties["VpcId"],
        **({"TagSpecifications": [{"ResourceType": "security-group", "Tags": tags}]} if tags else {}),
    )["GroupId"]
    ingress, egress = (
        [_permission(rule) for rule in properties.get(name, [])]
        for name in ("SecurityGroupIngress", "SecurityGroupEgress")
    )
    if ingress:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ingress)
    if egress:  # declared rules replace the one that lets everything out
        everything = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
        ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=egress)
    return Provisioned(group, {"GroupId": group, "Id": group, "VpcId": properties["VpcId"]})


def _delete_group(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_security_group(GroupId=physical_id)


def _create_ingress(declaration: Declaration) -> Provisioned:
    created = declaration.aws.client("ec2").authorize_security_group_ingress(
        GroupId=declaration.properties["GroupId"], IpPermissions=[_permission(declaration.properties)]
    )
    return _rule(created)


def _create_egress(declaration: Declaration) -> Provisioned:
    created = declaration.aws.client("ec2").authorize_security_group_egress(
        GroupId=declaration.properties["GroupId"], IpPermissions=[_permission(declaration.properties)]
    )
    return _rule(created)


def _rule(created: Mapping[str, Any]) -> Provisioned:
    identifier = created["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return Provisioned(identifier, {"Id": identifier})


def _delete_ingress(declaration: Declaration, _: str) -> None:
    declaration.aws.client("ec2").revoke_security_group_ingress(
        GroupId=declaration.properties["GroupId"], IpPermissions=[_permission(declaration.properties)]
    )


def _delete_egress(declaration: Declaration, _: str) -> None:
    declaration.aws.client("ec2").revoke_security_group_egress(
        GroupId=declaration.properties["GroupId"], IpPermissions=[_permission(declaration.properties)]
    )


TYPES = {
    "AWS::EC2::SecurityGroup": ResourceType(_create_group, _delete_group),
    "AWS::EC2::SecurityGroupIngress": ResourceType(_create_ingress, _delete_ingress),
    "AWS::EC2::SecurityGroupEgress": ResourceType(_create_egress, _delete_egress),
}
