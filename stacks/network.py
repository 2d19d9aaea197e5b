"""The network: a new VPC with one NAT gateway and S3 over its gateway endpoint, or a given one, and the DNS zone."""

from aws_cdk import Annotations, Fn, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from stacks.config import NetworkConfig, VpcConfig


class NetworkStack(Stack):
    """Gives the other stacks `vpc` and `zone`."""

    def __init__(self, scope: Construct, id: str, *, config: NetworkConfig, description: str) -> None:  # noqa: A002
        super().__init__(scope, id, description=description)
        self.vpc = self._given_vpc(config.vpc, "Vpc") if config.vpc else self._new_vpc(config)
        self.zone: route53.IPrivateHostedZone = (
            route53.PrivateHostedZone.from_private_hosted_zone_attributes(
                self, "Zone", hosted_zone_id=config.hosted_zone_id, zone_name=config.zone_name
            )
            if config.hosted_zone_id
            else route53.PrivateHostedZone(self, "Zone", vpc=self.vpc, zone_name=config.zone_name)
        )
        if config.vpc and config.hosted_zone_id:
            # As `Validations.acknowledge` does, but for a trace that would differ from one run to the next.
            self.node.add_metadata(
                Validations.ACKNOWLEDGED_RULES_METADATA_KEY,
                {"CloudFormation-Validate::F0001": "All is given: `cdk deploy` leaves out a stack without resources."},
            )

    def add_peer(self, name: str, config: VpcConfig) -> ec2.IVpc:
        """Return another VPC, from which a new zone's names are found too; a given zone is its owner's to associate."""
        vpc = self._given_vpc(config, f"{name}Vpc")
        if isinstance(self.zone, route53.PrivateHostedZone):
            self.zone.add_vpc(vpc)
        return vpc

    def _given_vpc(self, config: VpcConfig, construct_id: str) -> ec2.IVpc:
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            construct_id,
            vpc_id=config.id,
            vpc_cidr_block=config.cidr,
            availability_zones=list(config.availability_zones),
            private_subnet_ids=list(config.private_subnet_ids),
        )
        Annotations.of(self).acknowledge_warning(
            "@aws-cdk/aws-ec2:noSubnetRouteTableId", "Nothing here reads a route table."
        )
        return vpc

    def _new_vpc(self, config: NetworkConfig) -> ec2.IVpc:
        vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(config.cidr),
            # By position in the region's list: the account and the region are open until deployment.
            availability_zones=[Fn.select(index, Fn.get_azs()) for index in range(config.max_azs)],
            nat_gateways=1,
            restrict_default_security_group=False,  # it would take a Lambda function; nothing uses that group
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name="Builders", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            ],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            },
        )
        vpc.add_flow_log(
            "RejectedFlows",
            traffic_type=ec2.FlowLogTrafficType.REJECT,
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                logs.LogGroup(self, "RejectedFlows", retention=logs.RetentionDays.ONE_MONTH)
            ),
        )
        return vpc
