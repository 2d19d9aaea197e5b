"""One fleet of builders: its trust tier's role, address and scope."""

from collections.abc import Mapping
from datetime import timedelta

from aws_cdk import CfnOutput, Duration, Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderCertificates,
    BuilderObservability,
    BuilderScaling,
    CacheBucket,
    CacheScope,
    CapacitySchedule,
    Ec2BuilderFleet,
    ReleaseBucket,
    StoreVolume,
    WarmPool,
)
from cdk_buildkit.builder_logs import RETENTION_DAYS
from stacks.config import FleetConfig, ObservabilityConfig, ScalingConfig


class BuildersStack(Stack):
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
        write = CacheScope(config.cache.write)
        self.fleet = Ec2BuilderFleet(
            self,
            "Fleet",
            vpc=vpc,
            zone=zone,
            record_name=name,
            caches={architecture: caches[architecture] for architecture in config.architectures},
            write=write,
            read=[CacheScope(each) for each in config.cache.read if each != write.name],
            certificates=BuilderCertificates(
                self,
                "Certificates",
                domain_name=f"{name}.{zone.zone_name}",
                server_life=Duration.days(config.certificates.server_life_days),
                client_life=Duration.days(config.certificates.client_life_days),
                generation=config.certificates.generation,
            ),
            capacities={architecture: capacity_of(config, architecture) for architecture in config.architectures},
            scaling=scaling_of(config.scaling),
            longest_build=config.longest_build,
            max_instance_lifetime=Duration.days(config.max_instance_lifetime_days),
            store_volume=StoreVolume(
                size=Size.gibibytes(config.volume.size_gib),
                iops=config.volume.iops,
                throughput=config.volume.throughput,
            ),
            releases=releases,
            prove_boot=config.prove_boot,
            log_retention=RETENTION_DAYS[observability.log_retention_days],
        )
        if observability.alarm_topic_arn:
            alarm_topic = sns.Topic.from_topic_arn(self, "AlarmTopic", observability.alarm_topic_arn)
        BuilderObservability(self, "Observability", fleet=self.fleet, alarm_topic=alarm_topic)
        for client in config.clients:
            self.fleet.connections.allow_default_port_from(
                ec2.Peer.security_group_id(client) if client.startswith("sg-") else ec2.Peer.ipv4(client), "A client"
            )
        CfnOutput(self, "DomainName", value=self.fleet.domain_name, description="The fleet's address in the VPC")
        CfnOutput(self, "WriteScope", value=write.name, description="The cache scope that the fleet exports to")
        CfnOutput(
            self,
            "ClientCertificateSecret",
            value=self.fleet.certificates.client_secret.secret_arn,
            description="The secret with the clients' certificate, for whom grant_connect was called",
        )
        CfnOutput(
            self,
            "WakeFunction",
            value=self.fleet.waker.function.function_name,
            description="The function that wakes builders, for whom grant_wake was called",
        )
        CfnOutput(
            self,
            "LogGroupName",
            value=self.fleet.logs.log_group.log_group_name,
            description="The log group of the builders, a stream for each, named by its instance id",
        )
        for architecture in config.architectures:
            CfnOutput(
                self,
                f"{architecture.construct_id}Endpoint",
                value=f"tcp://{self.fleet.domain_name}:{architecture.port}",
                description=f"The endpoint of a buildx remote builder for {architecture.platform}",
            )


def capacity_of(config: FleetConfig, architecture: Architecture) -> BuilderCapacity:
    """Return the capacity of an architecture's builders that the settings stand for."""
    return BuilderCapacity(
        min_capacity=config.min_capacity,
        max_capacity=config.max_capacity,
        instance_types=config.instance_types.get(architecture),
        spot=config.spot,
        ami_id=config.ami.get(architecture),
    )


def scaling_of(config: ScalingConfig) -> BuilderScaling:
    """Return the scaling parameters that the settings stand for."""
    pool = config.warm_pool
    return BuilderScaling(
        target_builds_per_builder=config.target_builds_per_builder,
        max_builds=config.max_builds,
        idle_timeout=timedelta(minutes=config.idle_timeout_minutes),
        warm_pool=WarmPool(
            min_size=pool.min_size,
            max_prepared_capacity=pool.max_prepared_capacity,
            reuse_on_scale_in=pool.reuse_on_scale_in,
        )
        if pool
        else None,
        schedules=[
            CapacitySchedule(
                cron=each.cron,
                time_zone=each.time_zone,
                min_capacity=each.min_capacity,
                max_capacity=each.max_capacity,
            )
            for each in config.schedules
        ],
        on_demand_base_capacity=config.on_demand_base_capacity,
        on_demand_percentage=config.on_demand_percentage,
        on_demand_fallback=config.on_demand_fallback,
        max_parallelism=config.max_parallelism,
        step_memory=Size.mebibytes(config.step_memory_mib) if config.step_memory_mib else None,
        step_cpus=config.step_cpus,
    )
