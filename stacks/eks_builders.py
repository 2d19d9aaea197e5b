"""One fleet of builders on EKS: its trust tier's namespace, role, address and scope."""

from collections.abc import Mapping
from datetime import timedelta

from aws_cdk import CfnOutput, Duration, Size
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    BuilderCluster,
    BuilderImages,
    BuildxDriver,
    CacheBucket,
    CacheScope,
    EksBuilderFleet,
    KedaOperator,
    PodResources,
    PodStore,
)
from stacks.config import DriverConfig, FleetConfig, ObservabilityConfig
from stacks.fleet_stack import FleetStack, capacity_of, read_scopes_of, scaling_of, store_volume_of


class EksBuildersStack(FleetStack):
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
            read=read_scopes_of(config),
            namespace=pods.namespace,
            client_namespaces=pods.client_namespaces,
            load_balancer=pods.load_balancer,
            egress=pods.egress,
            certificates=self.add_certificates(name, config, zone),
            capacities={architecture: capacity_of(config, architecture) for architecture in config.architectures},
            scaling=scaling_of(config.scaling),
            instance_families=pods.instance_families,
            resources=PodResources(cpu=pods.cpu, memory=Size.gibibytes(pods.memory_gib)),
            store=PodStore(pods.store),
            store_volume=store_volume_of(config),
            longest_build=config.longest_build,
            max_node_lifetime=Duration.days(config.max_instance_lifetime_days),
            user_namespaces=pods.user_namespaces,
        )
        self.open(self.fleet, config=config, observability=observability, alarm_topic=alarm_topic)
        CfnOutput(self, "ServerName", value=self.fleet.domain_name, description="The name that builders prove to have")
        CfnOutput(self, "Namespace", value=self.fleet.namespace, description="The fleet's namespace")
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
            self.add_endpoint(fleet, architecture)

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
            for each in read_scopes_of(config):
                cache.grant_read(each, made)
        # The line names a bucket of another stack.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W6001"]}}}
        for architecture, line in made.create_lines.items():
            CfnOutput(
                self,
                f"{architecture.construct_id}BuildxCreate",
                value=line,
                description=f"Makes a builder of one's own for {architecture.platform}, by the group {driver.group}",
            )
