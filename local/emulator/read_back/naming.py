"""Reads hosted zones and their records back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _zone(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    route53 = account.client("route53")
    described = route53.get_hosted_zone(Id=physical_id)
    tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=physical_id)
    return Found(
        {
            "Name": described["HostedZone"]["Name"],
            "VPCs": [pick(vpc, "VPCId", "VPCRegion") for vpc in described.get("VPCs", [])],
            "HostedZoneTags": tags["ResourceTagSet"]["Tags"],
        },
        {"Id": physical_id},
    )


def _record(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    zone = declared["HostedZoneId"]
    records = account.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    name = physical_id.rstrip(".")
    same = [each for each in records if each["Name"].rstrip(".") == name and each["Type"] == declared["Type"]]
    record = same[0] if same else {}
    target = record.get("AliasTarget")
    return Found(
        {
            "HostedZoneId": zone,
            "Name": record.get("Name"),
            "Type": record.get("Type"),
            "TTL": record.get("TTL"),
            "AliasTarget": _alias(target) if target else None,
            "ResourceRecords": [each["Value"] for each in record.get("ResourceRecords", [])],
        }
    )


def _alias(target: Mapping[str, Any]) -> dict[str, Any]:
    checked = {"EvaluateTargetHealth": True} if target["EvaluateTargetHealth"] else {}
    return {**pick(target, "DNSName", "HostedZoneId"), **checked}


READERS = {
    "AWS::Route53::HostedZone": Reader(_zone, frozenset({"VPCs"})),
    "AWS::Route53::RecordSet": Reader(_record),
}
