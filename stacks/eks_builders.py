"""One fleet of builders on EKS: its trust tier's namespace, role, address and scope."""

from collections.abc import Mapping
from datetime import timedelta

from aws_cdk import CfnOutput, Duration, Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    BuilderCertificates,
    BuilderCluster,
    BuilderImages,
    BuilderObservability,
    BuildxDriver,
    CacheBucket,
    CacheScope,
    EksBuilderFleet,
    KedaOperator,
    PodResources,
    PodStore,
    StoreVolume,
)
from stacks.builders import capacity_of, scaling_of
from stacks.config import DriverConfig, FleetConfig, ObservabilityConfig


class EksBuildersStack(Stack):
    """Gives `fleet`, and as outputs what a client needs to find it."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        name: str,
        config: FleetConfig,
        images: BuilderImages,
        cluster: BuilderCluster,
        observability: ObservabilityConfig,
        alarm_topic: sns.ITopic | None,
        keda: KedaOperator | None,
        zone: route53.IPrivateHostedZone,
        caches: Mapping[Architecture, CacheBucket],
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        write, pods = CacheScope(config.cache.write), config.kubernetes
        self.fleet = EksBuilderFleet(
            self,
            "Fleet",
            cluster=cluster,
            zone=zone,
            record_name=name,
            caches={architecture: caches[architecture] for architecture in config.architectures},
            write=write,
            images=images,
            keda=keda,
            read=[CacheScope(each) for each in config.cache.read if each != write.name],
            namespace=pods.namespace,
            client_namespaces=pods.client_namespaces,
            load_balancer=pods.load_balancer,
            egress=pods.egress,
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
            resources=PodResources(cpu=pods.cpu, memory=Size.gibibytes(pods.memory_gib)),
            store=PodStore(pods.store),
            store_volume=StoreVolume(
                size=Size.gibibytes(config.volume.size_gib),
                iops=config.volume.iops,
                throughput=config.volume.throughput,
            ),
            longest_build=config.longest_build,
            max_node_lifetime=Duration.days(config.max_instance_lifetime_days),
            user_namespaces=pods.user_namespaces,
        )
        if observability.alarm_topic_arn:
            alarm_topic = sns.Topic.from_topic_arn(self, "AlarmTopic", observability.alarm_topic_arn)
        BuilderObservability(self, "Observability", fleet=self.fleet, alarm_topic=alarm_topic)
        for client in config.clients:
            self.fleet.connections.allow_default_port_from(
                ec2.Peer.security_group_id(client) if client.startswith("sg-") else ec2.Peer.ipv4(client), "A client"
            )
        CfnOutput(self, "ServerName", value=self.fleet.domain_name, description="The name that builders prove to have")
        CfnOutput(self, "Namespace", value=self.fleet.namespace, description="The fleet's namespace")
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
            description="The function that starts builders for waiting jobs, for whom grant_wake was called",
        )
        for architecture in config.architectures:
            self._name_endpoints(architecture)
        if pods.driver:
            self._add_driver(config, pods.driver, images, {each: caches[each] for each in config.architectures})

    def _name_endpoints(self, architecture: Architecture) -> None:
        fleet = self.fleet
        CfnOutput(
            self,
            f"{architecture.construct_id}Service",
            value=f"tcp://{fleet.services[architecture]}:1234",
            description=f"The endpoint in the cluster for {architecture.platform}, with servername={fleet.domain_name}",
        )
        if fleet.target_groups:
            CfnOutput(
                self,
                f"{architecture.construct_id}Endpoint",
                value=f"tcp://{fleet.domain_name}:{architecture.port}",
                description=f"The endpoint in the VPC of a buildx remote builder for {architecture.platform}",
            )

    def _add_driver(
        self,
        config: FleetConfig,
        driver: DriverConfig,
        images: BuilderImages,
        caches: Mapping[Architecture, CacheBucket],
    ) -> None:
        pods, write = config.kubernetes, CacheScope(config.cache.write)
        on_volumes = PodStore(pods.store) is PodStore.VOLUME
        made = BuildxDriver(
            self,
            "Driver",
            cluster=self.fleet.cluster,
            namespace=f"{self.fleet.namespace}-driver",
            group=driver.group,
            nodes=self.fleet.namespace,
            caches=caches,
            image=images.buildkit,
            resources=PodResources(cpu=pods.cpu, memory=Size.gibibytes(pods.memory_gib)),
            volume_size=Size.gibibytes(config.volume.size_gib) if on_volumes else None,
            # An existing cluster has a default of its own, or none on purpose.
            storage_class=on_volumes and self.fleet.cluster.is_new,
            max_builders=driver.max_builders,
            timeout=timedelta(minutes=driver.timeout_minutes),
        )
        for cache in caches.values():
            cache.grant_read_write(write, made)
            for each in config.cache.read:
                if each != write.name:
                    cache.grant_read(CacheScope(each), made)
        # The line names a bucket of another stack.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W6001"]}}}
        for architecture, line in made.create_lines.items():
            CfnOutput(
                self,
                f"{architecture.construct_id}BuildxCreate",
                value=line,
                description=f"Makes a builder of one's own for {architecture.platform}, by the group {driver.group}",
            )
