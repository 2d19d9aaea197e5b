"""Hosted zones and their records."""

from local.emulator.aws import Aws
from local.emulator.cloudformation.resource_type import Declaration, Properties, Provisioned, ResourceType, only


def _create_zone(declaration: Declaration) -> Provisioned:
    route53, properties = declaration.aws.client("route53"), declaration.properties
    networks = properties.get("VPCs", [])
    zone = route53.create_hosted_zone(
        Name=properties["Name"],
        CallerReference=f"{declaration.stack_id}/{declaration.logical_id}",
        HostedZoneConfig={"PrivateZone": bool(networks)},
        **({"VPC": networks[0]} if networks else {}),
    )["HostedZone"]
    identifier = zone["Id"].rpartition("/")[2]
    for network in networks[1:]:
        route53.associate_vpc_with_hosted_zone(HostedZoneId=identifier, VPC=network)
    if properties.get("HostedZoneTags"):
        route53.change_tags_for_resource(
            ResourceType="hostedzone", ResourceId=identifier, AddTags=properties["HostedZoneTags"]
        )
    return Provisioned(identifier, {"Id": identifier})


def _delete_zone(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("route53").delete_hosted_zone(Id=physical_id)


def _change_record(aws: Aws, action: str, properties: Properties) -> None:
    record = only(properties, "Name", "Type", "AliasTarget")
    if "AliasTarget" in record:
        record["AliasTarget"] = {"EvaluateTargetHealth": False, **record["AliasTarget"]}
    if "ResourceRecords" in properties:
        record |= {
            "TTL": int(properties["TTL"]),
            "ResourceRecords": [{"Value": value} for value in properties["ResourceRecords"]],
        }
    aws.client("route53").change_resource_record_sets(
        HostedZoneId=properties["HostedZoneId"],
        ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
    )


def _create_record(declaration: Declaration) -> Provisioned:
    _change_record(declaration.aws, "CREATE", declaration.properties)
    return Provisioned(declaration.properties["Name"])


def _delete_record(declaration: Declaration, _: str) -> None:
    _change_record(declaration.aws, "DELETE", declaration.properties)


TYPES = {
    "AWS::Route53::HostedZone": ResourceType(_create_zone, _delete_zone),
    "AWS::Route53::RecordSet": ResourceType(_create_record, _delete_record),
}
