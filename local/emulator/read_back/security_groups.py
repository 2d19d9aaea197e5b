"""Reads security groups and their rules back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.aws import Aws
from local.emulator.read_back.reader import Found, Reader, pick


def _group(aws: Aws, physical_id: str, declared: Mapping[str, Any]) -> Found:
    ec2 = aws.client("ec2")
    (group,) = ec2.describe_security_groups(GroupIds=[physical_id])["SecurityGroups"]
    properties = {"GroupDescription": group["Description"], **pick(group, "GroupName", "Tags", "VpcId")}
    for name, egress in (("SecurityGroupIngress", False), ("SecurityGroupEgress", True)):
        # Rules that are resources of their own stand beside those of the group: a rule is looked for, not counted.
        rules = [
            {name: value for name, value in _rule(rule).items() if name not in ("GroupId", "SourceSecurityGroupId")}
            for rule in _rules(aws, physical_id)
            if rule["IsEgress"] is egress
        ]
        declared_rules = declared.get(name, [])
        properties[name] = [rule for rule in declared_rules if rule in rules]
        if declared_rules:
            properties[name] += [rule for rule in rules if rule not in declared_rules and "CidrIp" in rule]
    return Found(properties, {"GroupId": physical_id, "Id": physical_id, **pick(group, "VpcId")})
