"""Reads security groups and their rules back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick, without_nothing


def _group(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    ec2 = account.client("ec2")
    (group,) = ec2.describe_security_groups(GroupIds=[physical_id])["SecurityGroups"]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [physical_id]}])
    own = [rule for rule in rules["SecurityGroupRules"] if rule["SecurityGroupRuleId"] not in account.physical_ids]
    properties = {
        "GroupDescription": group["Description"],
        "SecurityGroupIngress": [_rule(rule) for rule in own if not rule["IsEgress"]],
        "SecurityGroupEgress": [_rule(rule) for rule in own if rule["IsEgress"]],
        **pick(group, "GroupName", "Tags", "VpcId"),
    }
    return Found(properties, {"GroupId": physical_id, "Id": physical_id, "VpcId": group["VpcId"]})


def _standalone_rule(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (rule,) = account.client("ec2").describe_security_group_rules(SecurityGroupRuleIds=[physical_id])[
        "SecurityGroupRules"
    ]
    looked_at = ("CidrIp", "CidrIpv6", "Description", "SourceSecurityGroupId", "DestinationSecurityGroupId")
    return Found({"GroupId": rule["GroupId"], **pick(_rule(rule), "IpProtocol", "FromPort", "ToPort", *looked_at)})


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    other = "DestinationSecurityGroupId" if rule["IsEgress"] else "SourceSecurityGroupId"
    found = pick(rule, "IpProtocol", "FromPort", "ToPort", "Description")
    if found["IpProtocol"] == "-1":
        found |= {"FromPort": None, "ToPort": None}  # every protocol has no ports; the service says -1
    return without_nothing(
        {
            **found,
            "CidrIp": rule.get("CidrIpv4"),
            "CidrIpv6": rule.get("CidrIpv6"),
            other: rule.get("ReferencedGroupInfo", {}).get("GroupId"),
        }
    )


READERS = {
    "AWS::EC2::SecurityGroup": Reader(
        _group,
        unordered=frozenset({"SecurityGroupIngress", "SecurityGroupEgress"}),
        closed=frozenset({"SecurityGroupIngress"}),
    ),
    "AWS::EC2::SecurityGroupIngress": Reader(_standalone_rule),
    "AWS::EC2::SecurityGroupEgress": Reader(_standalone_rule),
}
