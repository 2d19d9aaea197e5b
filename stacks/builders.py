"""One fleet of builders: its trust tier's role, address and scope."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    CacheBucket,
    CacheScope,
    Ec2BuilderFleet,
    ReleaseBucket,
)
from cdk_buildkit.builder_logs import RETENTION_DAYS
from stacks.config import FleetConfig, ObservabilityConfig
from stacks.fleet_stack import FleetStack, capacity_of, read_scopes_of, scaling_of, store_volume_of


class BuildersStack(FleetStack):
    """Gives `fleet`, and as outputs what a client needs to find it."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        name: str,
        config: FleetConfig,
        releases: ReleaseBucket,
        observability: ObservabilityConfig,
        alarm_topic: sns.ITopic | None,
        vpc: ec2.IVpc,
        zone: route53.IPrivateHostedZone,
        caches: Mapping[Architecture, CacheBucket],
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self.fleet = Ec2BuilderFleet(
            self,
            "Fleet",
            vpc=vpc,
            zone=zone,
            record_name=name,
            caches={architecture: caches[architecture] for architecture in config.architectures},
            write=CacheScope(config.cache.write),
            read=read_scopes_of(config),
            certificates=self.add_certificates(name, config, zone),
            capacities={architecture: capacity_of(config, architecture) for architecture in config.architectures},
            scaling=scaling_of(config.scaling),
            longest_build=config.longest_build,
            max_instance_lifetime=Duration.days(config.max_instance_lifetime_days),
            store_volume=store_volume_of(config),
            releases=releases,
            prove_boot=config.prove_boot,
            log_retention=RETENTION_DAYS[observability.log_retention_days],
        )
        self.open(self.fleet, config=config, observability=observability, alarm_topic=alarm_topic)
        CfnOutput(self, "DomainName", value=self.fleet.domain_name, description="The fleet's address in the VPC")
        CfnOutput(
            self,
            "LogGroupName",
            value=self.fleet.logs.log_group.log_group_name,
            description="The log group of the builders, a stream for each, named by its instance id",
        )
        for architecture in config.architectures:
            self.add_endpoint(self.fleet, architecture)
