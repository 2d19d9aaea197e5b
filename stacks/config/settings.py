"""The settings, their types and their defaults. What is read from a file has every default filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

from buildkit_ops.architecture import Architecture
from cdk_buildkit import (
    BuilderCapacity,
    BuildKitRelease,
    CacheExpiration,
    StoreVolume,
)
from cdk_buildkit.handlers.certificates.rotation import LONGEST_LIFE, SHORTEST_LIFE, CertificateLives
from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES
from stacks.config.github_actions_settings import GithubActionsConfig
from stacks.config.kubernetes_settings import KubernetesConfig, PodsConfig
from stacks.config.runner_scale_set_settings import RunnerScaleSetConfig
from stacks.config.runner_settings import RunnerConfig, RunnerToolsConfig
from stacks.config.scaling_settings import ScalingConfig
from stacks.config.tags import Tags
from stacks.config.values import (
    AlarmTopicArn,
    AmiId,
    BootstrapQualifier,
    BucketName,
    Capacity,
    Cidr,
    ClientPeer,
    Compute,
    Days,
    DnsName,
    HostedZoneId,
    InstanceType,
    KmsKeyArn,
    LogRetentionDays,
    Name,
    PermissionsBoundary,
    ReleaseUrl,
    Sha256,
    Version,
    between,
)
from stacks.config.vpc_settings import VpcConfig

_RELEASE = BuildKitRelease()
_CAPACITY = BuilderCapacity()
_VOLUME = StoreVolume()
_LIVES = CertificateLives()

CertificateDays = Annotated[int, between(SHORTEST_LIFE.days, LONGEST_LIFE.days)]
"""Days for which a certificate is valid."""


@dataclass(frozen=True, kw_only=True)
class DeploymentConfig:
    """What holds for every stack.

    Args:
        name: The deployment's name: the head of its stacks' names, DNS zone and secrets.
        tags: Tags of every resource.
        permissions_boundary: Name or ARN of the managed policy that bounds every role. Default: none.
        bootstrap_qualifier: The qualifier of `cdk bootstrap` in the account.
    """

    name: Name = "buildkit"
    tags: Tags = field(default_factory=dict)
    permissions_boundary: PermissionsBoundary | None = None
    bootstrap_qualifier: BootstrapQualifier = "hnb659fds"


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Where the builders run, and the private hosted zone that holds the fleets' names.

    Args:
        zone_name: The zone's name. In a file, the default is `<deployment>.buildkit.internal`.
        hosted_zone_id: Id of an existing zone of that name. Default: a new one.
        cidr: IPv4 block of a new VPC.
        max_azs: Availability zones of a new VPC, at most.
        vpc: An existing VPC. Default: a new one.
    """

    zone_name: DnsName
    hosted_zone_id: HostedZoneId | None = None
    cidr: Cidr = "10.0.0.0/16"
    max_azs: Annotated[int, between(1, 6)] = 2
    vpc: VpcConfig | None = None


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """The cache's buckets, one an architecture.

    Args:
        blob_expiration_days: Age at which a layer expires.
        manifest_expiration_days: Age at which a manifest expires, less than a blob's by the margin of
            `buildkit_ops.cache_expiration`.
        kms_key_arn: A key for encryption at rest. Default: keys that S3 manages.
        retain: Keep new buckets when their stack is deleted.
        bucket_names: Existing buckets, of every architecture in use. Default: new ones.
    """

    blob_expiration_days: Days = CacheExpiration.blob_days
    manifest_expiration_days: Days = CacheExpiration.manifest_days
    kms_key_arn: KmsKeyArn | None = None
    retain: bool = True
    bucket_names: Mapping[Architecture, BucketName] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildkitConfig:
    """The BuildKit release that every builder on EC2 runs.

    Args:
        version: The release's tag.
        url: Where its archives are; `{version}` and `{architecture}` (`amd64`, `arm64`) are filled in.
        sha256: Hexadecimal SHA-256 of each architecture's archive.
    """

    version: Version = _RELEASE.version
    url: ReleaseUrl = _RELEASE.url
    sha256: Mapping[Architecture, Sha256] = field(default_factory=lambda: _RELEASE.sha256)


@dataclass(frozen=True, kw_only=True)
class ObservabilityConfig:
    """What operators see of every fleet.

    Args:
        alarm_topic_arn: An existing SNS topic for the alarms. Default: a new one, encrypted.
        log_retention_days: How long the builders' logs are kept.
    """

    alarm_topic_arn: AlarmTopicArn | None = None
    log_retention_days: LogRetentionDays = 30


@dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """The gp3 volume of a builder's store, where the instance type has no NVMe of its own.

    Limits: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html

    Args:
        size_gib: Its size in GiB.
        iops: At most 500 for each GiB.
        throughput: MiB/s, at most a quarter of `iops`.
    """

    size_gib: Annotated[int, between(20, 65536)] = int(_VOLUME.size.to_gibibytes())
    iops: Annotated[int, between(3000, 80000)] = _VOLUME.iops
    throughput: Annotated[int, between(125, 2000)] = _VOLUME.throughput


@dataclass(frozen=True, kw_only=True)
class ScopesConfig:
    """A fleet's part of the cache.

    Args:
        write: The scope that it exports to. In a file, the default is the fleet's name.
        read: The scopes that it imports from. In a file, `write` is added in front when it is not among them.
    """

    write: Name
    read: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CertificatesConfig:
    """A fleet's certificates, from an authority of its own.

    Args:
        server_life_days: How long a builder's certificate is valid. Renewed at a third, by replacing the builder.
        client_life_days: How long a client's certificate is valid. Renewed at a third.
        generation: Raise it to revoke every certificate of the fleet at the next deployment.
    """

    server_life_days: CertificateDays = _LIVES.server.days
    client_life_days: CertificateDays = _LIVES.client.days
    generation: Annotated[int, between(1, 1000000)] = 1


@dataclass(frozen=True, kw_only=True)
class FleetConfig:
    """A fleet of builders: one trust tier.

    Args:
        cache: The scopes that it writes and reads.
        clients: Private IPv4 blocks and security groups that may reach it. Default: none.
        compute: What it runs on: `ec2` instances, or pods on `eks`.
        architectures: Architectures that it builds for.
        instance_types: Instance types of each of its architectures, the preferred first.
        longest_build: The longest build that is waited for before a builder goes.
        max_instance_lifetime_days: The age at which a builder is replaced, with the certificate and the AMI of the day.
        certificates: Its certificates.
        min_capacity: Builders of each architecture that always run.
        max_capacity: Builders of each architecture that may run at once.
        spot: Run them on spot capacity.
        scaling: How they come and go between the two.
        ami: AMI of an architecture. Without one, the latest Amazon Linux 2023 at each launch.
        volume: The store's volume.
        prove_boot: Let a deploy that changes what builders are launched from boot one more of them first, or fail.
        kubernetes: What is of its pods, where it is on EKS.
    """

    cache: ScopesConfig
    clients: tuple[ClientPeer, ...] = ()
    compute: Compute = "ec2"
    architectures: tuple[Architecture, ...] = tuple(Architecture)
    instance_types: Mapping[Architecture, tuple[InstanceType, ...]] = field(
        default_factory=lambda: dict(DEFAULT_INSTANCE_TYPES)
    )
    longest_build: timedelta = timedelta(hours=1)
    max_instance_lifetime_days: Annotated[int, between(1, 365)] = 14
    certificates: CertificatesConfig = field(default_factory=CertificatesConfig)
    min_capacity: Capacity = _CAPACITY.min_capacity
    max_capacity: Capacity = _CAPACITY.max_capacity
    spot: bool = _CAPACITY.spot
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    ami: Mapping[Architecture, AmiId] = field(default_factory=dict)
    volume: VolumeConfig = field(default_factory=VolumeConfig)
    prove_boot: bool = True
    kubernetes: PodsConfig = field(default_factory=PodsConfig)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole deployment. `load_config` makes one; everything in it has been checked.

    Args:
        deployment: What holds for every stack.
        network: Where the builders run.
        cache: The cache's buckets.
        buildkit: The release that builders on EC2 run.
        kubernetes: The cluster of the builders on EKS, and what they run.
        observability: What operators see.
        builders: The fleets by name; there is at least one.
        runner_tools: What the images of the runners have.
        runners: The fleets of GitHub runners by name.
        runner_scale_sets: The GitHub runners that are pods by name.
        github_actions: The roles for jobs of GitHub Actions on other runners by name.
    """

    deployment: DeploymentConfig
    network: NetworkConfig
    cache: CacheConfig
    buildkit: BuildkitConfig
    kubernetes: KubernetesConfig
    observability: ObservabilityConfig
    builders: Mapping[str, FleetConfig]
    runner_tools: RunnerToolsConfig = field(default_factory=RunnerToolsConfig)
    runners: Mapping[str, RunnerConfig] = field(default_factory=dict)
    runner_scale_sets: Mapping[str, RunnerScaleSetConfig] = field(default_factory=dict)
    github_actions: Mapping[str, GithubActionsConfig] = field(default_factory=dict)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures that any fleet builds for, in `Architecture`'s order."""
        return architectures_in_use(self.builders)

    def fleets_on(self, compute: str) -> Mapping[str, FleetConfig]:
        """Return the fleets that run on `ec2` or `eks`, by name."""
        return {name: fleet for name, fleet in self.builders.items() if fleet.compute == compute}

    @property
    def longest_build(self) -> timedelta:
        """The longest build of any fleet: what the cache's ages must allow for."""
        return max(fleet.longest_build for fleet in self.builders.values())


def architectures_in_use(builders: Mapping[str, FleetConfig]) -> tuple[Architecture, ...]:
    """Return the architectures that any of the fleets builds for, in `Architecture`'s order."""
    used = {architecture for fleet in builders.values() for architecture in fleet.architectures}
    return tuple(architecture for architecture in Architecture if architecture in used)
