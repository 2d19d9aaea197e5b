"""Reads VPCs back, and what lies in them."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _vpc(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    ec2 = account.client("ec2")
    (vpc,) = ec2.describe_vpcs(VpcIds=[physical_id])["Vpcs"]
    properties = pick(vpc, "CidrBlock", "InstanceTenancy", "Tags")
    for name in ("EnableDnsSupport", "EnableDnsHostnames"):
        attribute = name[0].lower() + name[1:]
        properties[name] = ec2.describe_vpc_attribute(VpcId=physical_id, Attribute=attribute)[name]["Value"]
    return Found(properties, {"VpcId": physical_id, "CidrBlock": vpc["CidrBlock"]})


def _subnet(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (subnet,) = account.client("ec2").describe_subnets(SubnetIds=[physical_id])["Subnets"]
    names = ("AvailabilityZone", "CidrBlock", "MapPublicIpOnLaunch", "Tags", "VpcId")
    return Found(pick(subnet, *names), pick(subnet, "SubnetId", "AvailabilityZone", "CidrBlock", "VpcId"))


def _internet_gateway(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (gateway,) = account.client("ec2").describe_internet_gateways(InternetGatewayIds=[physical_id])["InternetGateways"]
    return Found(pick(gateway, "Tags"), pick(gateway, "InternetGatewayId"))


def _gateway_attachment(account: Account, _: str, declared: Mapping[str, Any]) -> Found:
    (gateway,) = account.client("ec2").describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [declared["VpcId"]]}]
    )["InternetGateways"]
    (attachment,) = gateway["Attachments"]
    return Found({**pick(gateway, "InternetGatewayId"), **pick(attachment, "VpcId")})


def _route_table(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (table,) = account.client("ec2").describe_route_tables(RouteTableIds=[physical_id])["RouteTables"]
    return Found(pick(table, "Tags", "VpcId"), pick(table, "RouteTableId"))


def _route(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    table_id, destination = physical_id.split("|")
    (table,) = account.client("ec2").describe_route_tables(RouteTableIds=[table_id])["RouteTables"]
    routes = [each for each in table["Routes"] if each.get("DestinationCidrBlock") == destination]
    route = routes[0] if routes else {}
    return Found(
        {"RouteTableId": table_id, **pick(route, "DestinationCidrBlock", "GatewayId", "NatGatewayId")},
    )


def _route_table_association(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (table,) = account.client("ec2").describe_route_tables(
        Filters=[{"Name": "association.route-table-association-id", "Values": [physical_id]}]
    )["RouteTables"]
    association = next(each for each in table["Associations"] if each["RouteTableAssociationId"] == physical_id)
    return Found(pick(association, "RouteTableId", "SubnetId"), {"Id": physical_id})


def _address(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (address,) = account.client("ec2").describe_addresses(PublicIps=[physical_id])["Addresses"]
    return Found(pick(address, "Domain", "Tags"), pick(address, "AllocationId", "PublicIp"))


def _nat_gateway(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (gateway,) = account.client("ec2").describe_nat_gateways(NatGatewayIds=[physical_id])["NatGateways"]
    (address,) = gateway["NatGatewayAddresses"]
    return Found({**pick(gateway, "SubnetId", "Tags"), **pick(address, "AllocationId")}, pick(gateway, "NatGatewayId"))


def _endpoint(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (endpoint,) = account.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[physical_id])["VpcEndpoints"]
    names = ("RouteTableIds", "ServiceName", "Tags", "VpcEndpointType", "VpcId")
    return Found(pick(endpoint, *names), {"Id": physical_id})


def _flow_log(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (flow_log,) = account.client("ec2").describe_flow_logs(FlowLogIds=[physical_id])["FlowLogs"]
    names = ("DeliverLogsPermissionArn", "LogDestinationType", "LogGroupName", "ResourceId", "Tags", "TrafficType")
    kinds = {"vpc-": "VPC", "subnet-": "Subnet"}
    kind = next((kind for prefix, kind in kinds.items() if flow_log["ResourceId"].startswith(prefix)), None)
    return Found({**pick(flow_log, *names), "ResourceType": kind}, {"Id": physical_id})


READERS = {
    "AWS::EC2::VPC": Reader(_vpc),
    "AWS::EC2::Subnet": Reader(_subnet),
    "AWS::EC2::InternetGateway": Reader(_internet_gateway),
    "AWS::EC2::VPCGatewayAttachment": Reader(_gateway_attachment),
    "AWS::EC2::RouteTable": Reader(_route_table),
    "AWS::EC2::Route": Reader(_route),
    "AWS::EC2::SubnetRouteTableAssociation": Reader(_route_table_association),
    "AWS::EC2::EIP": Reader(_address),
    "AWS::EC2::NatGateway": Reader(_nat_gateway),
    "AWS::EC2::VPCEndpoint": Reader(_endpoint, frozenset({"RouteTableIds"})),
    "AWS::EC2::FlowLog": Reader(_flow_log),
}
