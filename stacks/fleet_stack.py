"""What stacks of fleets on EC2 and on EKS have in common: certificates, alarms, clients, and what those are told."""

from datetime import timedelta

from aws_cdk import CfnOutput, Duration, Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderCertificates,
    BuilderObservability,
    BuilderScaling,
    CacheScope,
    CapacitySchedule,
    Ec2BuilderFleet,
    EksBuilderFleet,
    StoreVolume,
    WarmPool,
)
from stacks.config import FleetConfig, ObservabilityConfig, ScalingConfig


class FleetStack(Stack):
    """A fleet's stack."""

    def add_certificates(self, name: str, config: FleetConfig, zone: route53.IPrivateHostedZone) -> BuilderCertificates:
        """Make the fleet's certificates, for its name in the zone."""
        return BuilderCertificates(
            self,
            "Certificates",
            domain_name=f"{name}.{zone.zone_name}",
            server_life=Duration.days(config.certificates.server_life_days),
            client_life=Duration.days(config.certificates.client_life_days),
            generation=config.certificates.generation,
        )

    def open(
        self,
        fleet: Ec2BuilderFleet | EksBuilderFleet,
        *,
        config: FleetConfig,
        observability: ObservabilityConfig,
        alarm_topic: sns.ITopic | None,
    ) -> None:
        """Watch a fleet, admit its clients, and put out what they need to know whatever it runs on."""
        if observability.alarm_topic_arn:
            alarm_topic = sns.Topic.from_topic_arn(self, "AlarmTopic", observability.alarm_topic_arn)
        BuilderObservability(self, "Observability", fleet=fleet, alarm_topic=alarm_topic)
        for client in config.clients:
            fleet.connections.allow_default_port_from(peer_of(client), "A client")
        CfnOutput(self, "WriteScope", value=config.cache.write, description="The cache scope that the fleet exports to")
        CfnOutput(
            self,
            "ClientCertificateSecret",
            value=fleet.certificates.client_secret.secret_arn,
            description="The secret with the clients' certificate, for whom grant_connect was called",
        )
        CfnOutput(
            self,
            "WakeFunction",
            value=fleet.waker.function.function_name,
            description="The function that starts builders for waiting jobs, for whom grant_wake was called",
        )
        CfnOutput(
            self,
            "CacheNamesFunction",
            value=fleet.cache_names.function.function_name,
            description="The function that says which cache to import, for whom grant_connect was called",
        )

    def add_endpoint(self, fleet: Ec2BuilderFleet | EksBuilderFleet, architecture: Architecture) -> None:
        """Put out where the builders of an architecture are reached in the VPC."""
        CfnOutput(
            self,
            f"{architecture.construct_id}Endpoint",
            value=f"tcp://{fleet.domain_name}:{architecture.port}",
            description=f"The endpoint in the VPC of a buildx remote builder for {architecture.platform}",
        )


def peer_of(client: str) -> ec2.IPeer:
    """Return the block or the security group that the setting names."""
    return ec2.Peer.security_group_id(client) if client.startswith("sg-") else ec2.Peer.ipv4(client)


def read_scopes_of(config: FleetConfig) -> list[CacheScope]:
    """Return the scopes that a fleet reads besides the one that it writes."""
    return [CacheScope(each) for each in config.cache.read if each != config.cache.write]


def store_volume_of(config: FleetConfig) -> StoreVolume:
    """Return the volume that the settings stand for."""
    return StoreVolume(
        size=Size.gibibytes(config.volume.size_gib), iops=config.volume.iops, throughput=config.volume.throughput
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
