"""VPCs and what lies in them: subnets, gateways, routes, endpoints, flow logs."""

from typing import Any

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _tagged(declaration: Declaration, kind: str) -> dict[str, Any]:
    tags = declaration.properties.get("Tags")
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def _create_vpc(declaration: Declaration) -> Provisioned:
    ec2, properties = declaration.aws.client("ec2"), declaration.properties
    vpc = ec2.create_vpc(**only(properties, "CidrBlock", "InstanceTenancy"), **_tagged(declaration, "vpc"))["Vpc"]
    for name in ("EnableDnsSupport", "EnableDnsHostnames"):
        if name in properties:
            ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], **{name: {"Value": properties[name]}})
    return Provisioned(vpc["VpcId"], {"VpcId": vpc["VpcId"], "CidrBlock": vpc["CidrBlock"]})


def _delete_vpc(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_vpc(VpcId=physical_id)


def _create_subnet(declaration: Declaration) -> Provisioned:
    ec2, properties = declaration.aws.client("ec2"), declaration.properties
    given = only(properties, "AvailabilityZone", "CidrBlock", "VpcId")
    subnet = ec2.create_subnet(**given, **_tagged(declaration, "subnet"))["Subnet"]
    public = properties.get("MapPublicIpOnLaunch", False)
    ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": public})
    return Provisioned(subnet["SubnetId"], only(subnet, "SubnetId", "AvailabilityZone", "VpcId", "CidrBlock"))


def _delete_subnet(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_subnet(SubnetId=physical_id)


def _create_internet_gateway(declaration: Declaration) -> Provisioned:
    ec2 = declaration.aws.client("ec2")
    gateway = ec2.create_internet_gateway(**_tagged(declaration, "internet-gateway"))["InternetGateway"]
    return Provisioned(gateway["InternetGatewayId"], {"InternetGatewayId": gateway["InternetGatewayId"]})


def _delete_internet_gateway(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_internet_gateway(InternetGatewayId=physical_id)


def _create_gateway_attachment(declaration: Declaration) -> Provisioned:
    given = only(declaration.properties, "InternetGatewayId", "VpcId")
    declaration.aws.client("ec2").attach_internet_gateway(**given)
    return Provisioned(f"IGW|{given['VpcId']}")


def _delete_gateway_attachment(declaration: Declaration, _: str) -> None:
    declaration.aws.client("ec2").detach_internet_gateway(**only(declaration.properties, "InternetGatewayId", "VpcId"))


def _create_route_table(declaration: Declaration) -> Provisioned:
    ec2, vpc = declaration.aws.client("ec2"), declaration.properties["VpcId"]
    table = ec2.create_route_table(VpcId=vpc, **_tagged(declaration, "route-table"))["RouteTable"]
    return Provisioned(table["RouteTableId"], {"RouteTableId": table["RouteTableId"]})


def _delete_route_table(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_route_table(RouteTableId=physical_id)


def _create_route(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    declaration.aws.client("ec2").create_route(
        **only(properties, "RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId")
    )
    return Provisioned(f"{properties['RouteTableId']}|{properties['DestinationCidrBlock']}")


def _delete_route(declaration: Declaration, _: str) -> None:
    declaration.aws.client("ec2").delete_route(**only(declaration.properties, "RouteTableId", "DestinationCidrBlock"))


def _create_route_table_association(declaration: Declaration) -> Provisioned:
    given = only(declaration.properties, "RouteTableId", "SubnetId")
    association = declaration.aws.client("ec2").associate_route_table(**given)["AssociationId"]
    return Provisioned(association, {"Id": association})


def _delete_route_table_association(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").disassociate_route_table(AssociationId=physical_id)


def _create_address(declaration: Declaration) -> Provisioned:
    ec2 = declaration.aws.client("ec2")
    given = only(declaration.properties, "Domain")
    address = ec2.allocate_address(**given, **_tagged(declaration, "elastic-ip"))
    return Provisioned(address["PublicIp"], only(address, "PublicIp", "AllocationId"))


def _delete_address(declaration: Declaration, physical_id: str) -> None:
    ec2 = declaration.aws.client("ec2")
    (address,) = ec2.describe_addresses(PublicIps=[physical_id])["Addresses"]
    ec2.release_address(AllocationId=address["AllocationId"])


def _create_nat_gateway(declaration: Declaration) -> Provisioned:
    given = only(declaration.properties, "AllocationId", "SubnetId")
    gateway = declaration.aws.client("ec2").create_nat_gateway(**given, **_tagged(declaration, "natgateway"))
    identifier = gateway["NatGateway"]["NatGatewayId"]
    return Provisioned(identifier, {"NatGatewayId": identifier})


def _delete_nat_gateway(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_nat_gateway(NatGatewayId=physical_id)


def _create_endpoint(declaration: Declaration) -> Provisioned:
    given = only(declaration.properties, "RouteTableIds", "ServiceName", "VpcEndpointType", "VpcId")
    endpoint = declaration.aws.client("ec2").create_vpc_endpoint(**given, **_tagged(declaration, "vpc-endpoint"))
    identifier = endpoint["VpcEndpoint"]["VpcEndpointId"]
    return Provisioned(identifier, {"Id": identifier})


def _delete_endpoint(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[physical_id])


def _create_flow_log(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    given = only(properties, "DeliverLogsPermissionArn", "LogDestinationType", "LogGroupName", "TrafficType")
    created = declaration.aws.client("ec2").create_flow_logs(
        ResourceIds=[properties["ResourceId"]],
        ResourceType=properties["ResourceType"],
        **given,
        **_tagged(declaration, "vpc-flow-log"),
    )
    if created.get("Unsuccessful"):
        raise ValueError(f"the flow log was refused: {created['Unsuccessful']}")
    return Provisioned(created["FlowLogIds"][0], {"Id": created["FlowLogIds"][0]})


def _delete_flow_log(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_flow_logs(FlowLogIds=[physical_id])


TYPES = {
    "AWS::EC2::VPC": ResourceType(_create_vpc, _delete_vpc),
    "AWS::EC2::Subnet": ResourceType(_create_subnet, _delete_subnet),
    "AWS::EC2::InternetGateway": ResourceType(_create_internet_gateway, _delete_internet_gateway),
    "AWS::EC2::VPCGatewayAttachment": ResourceType(_create_gateway_attachment, _delete_gateway_attachment),
    "AWS::EC2::RouteTable": ResourceType(_create_route_table, _delete_route_table),
    "AWS::EC2::Route": ResourceType(_create_route, _delete_route),
    "AWS::EC2::SubnetRouteTableAssociation": ResourceType(
        _create_route_table_association, _delete_route_table_association
    ),
    "AWS::EC2::EIP": ResourceType(_create_address, _delete_address),
    "AWS::EC2::NatGateway": ResourceType(_create_nat_gateway, _delete_nat_gateway),
    "AWS::EC2::VPCEndpoint": ResourceType(_create_endpoint, _delete_endpoint),
    "AWS::EC2::FlowLog": ResourceType(_create_flow_log, _delete_flow_log),
}
