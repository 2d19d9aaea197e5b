"""What settings must be to each other: in one section, between a fleet and the cache, between fleets."""

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_expiration import expiration_margin_days
from cdk_buildkit.handlers.certificates.rotation import CertificateLives
from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES, instance_type_architecture
from cdk_buildkit.store_volume import LEAST_IOPS_PER_MIBPS, MOST_IOPS_PER_GIB
from stacks.config.durations import SHORTEST_BUILD, duration_text
from stacks.config.problems import KeyPath, Problem, listing, quote, refused
from stacks.config.scaling_rules import scaling_problems
from stacks.config.settings import (
    BuildkitConfig,
    CacheConfig,
    FleetConfig,
    NetworkConfig,
    VolumeConfig,
    architectures_in_use,
)
from stacks.config.vpc_settings import VpcConfig

SUBNET_PREFIX = 24
"""Prefix length of a new VPC's public subnets, and of its private ones at the least."""


def network_problems(network: NetworkConfig) -> Iterator[Problem]:
    """Check a new VPC's size, or that an existing one's zones and subnets fit together."""
    if network.vpc:
        yield from vpc_problems(("network", "vpc"), network.vpc)
        return
    # A public and a private subnet in every zone.
    most = SUBNET_PREFIX - math.ceil(math.log2(2 * network.max_azs))
    if ipaddress.IPv4Network(network.cidr).prefixlen > most:
        yield refused(
            ("network", "cidr"),
            quote(network.cidr),
            f"a block of /16 to /{most} for two /{SUBNET_PREFIX} subnets in each of max_azs ({network.max_azs}) zones",
            "take a larger one or lower max_azs",
        )


def vpc_problems(path: KeyPath, vpc: VpcConfig) -> Iterator[Problem]:
    """Check that an existing VPC's zones and subnets fit together."""
    zones, subnets = len(vpc.availability_zones), len(vpc.private_subnet_ids)
    if zones != subnets:
        yield refused(
            (*path, "private_subnet_ids"),
            subnets,
            f"as many as availability_zones ({zones})",
            "list one subnet for each zone, in the same order",
        )
    regions = {re.split(r"(?<=-[0-9])", zone, maxsplit=1)[0] for zone in vpc.availability_zones}
    if len(regions) > 1:
        yield refused(
            (*path, "availability_zones"),
            listing(sorted(regions)),
            "zones of one region",
            "list the zones of the region that the stacks are deployed to",
        )


def cache_problems(cache: CacheConfig, builders: Mapping[str, FleetConfig]) -> Iterator[Problem]:
    """Check the ages against the longest build of any fleet, and given buckets against the architectures in use."""
    longest_build = max((fleet.longest_build for fleet in builders.values()), default=SHORTEST_BUILD)
    margin = expiration_margin_days(longest_build)
    least = cache.manifest_expiration_days + margin
    if cache.blob_expiration_days < least:
        lower = cache.blob_expiration_days - margin
        yield refused(
            ("cache", "blob_expiration_days"),
            cache.blob_expiration_days,
            f"at least {least}, manifest_expiration_days ({cache.manifest_expiration_days}) and a margin of {margin} "
            f"days with builds of up to {duration_text(longest_build)}, or builds fail on a missing blob",
            f"raise it to {least}" + (f" or lower manifest_expiration_days to {lower}" if lower > 0 else ""),
        )
    path = ("cache", "bucket_names")
    missing = [each for each in architectures_in_use(builders) if each not in cache.bucket_names]
    if cache.bucket_names and missing:
        yield refused(
            path,
            f"none for {listing(missing)}",
            "a bucket for every architecture in use, or no bucket at all",
            f"add {missing[0]} or remove the others",
        )
    if len(set(cache.bucket_names.values())) < len(cache.bucket_names):
        yield refused(
            path,
            "one bucket twice",
            "a bucket for each architecture, for one would lose the other's manifests",
            "name another bucket",
        )


def buildkit_problems(buildkit: BuildkitConfig, builders: Mapping[str, FleetConfig]) -> Iterator[Problem]:
    """Check that the sums are those of the version's own archives."""
    path = ("buildkit", "sha256")
    for architecture in architectures_in_use(builders):
        if (
            buildkit.version != BuildkitConfig.version
            and buildkit.sha256[architecture] == BuildkitConfig().sha256[architecture]
        ):
            yield refused(
                (*path, architecture),
                f"the sum of {BuildkitConfig.version}",
                f"the sum of {buildkit.version}",
                "take it from `sha256sum` of that version's archive",
            )
    if len(set(buildkit.sha256.values())) < len(buildkit.sha256):
        yield refused(path, "one sum twice", "a sum for each architecture", "take each from its own archive")


def fleet_problems(name: str, fleet: FleetConfig) -> Iterator[Problem]:
    """Check a fleet's capacity, its instance types' architectures, its builders' lifetime and its volume."""
    path = ("builders", name)
    if fleet.max_capacity < 1:
        yield refused((*path, "max_capacity"), fleet.max_capacity, "at least 1", "raise it, or remove the fleet")
    elif fleet.min_capacity > fleet.max_capacity:
        yield refused(
            (*path, "min_capacity"),
            fleet.min_capacity,
            f"0 to max_capacity ({fleet.max_capacity})",
            "lower it or raise max_capacity",
        )
    for architecture, instance_types in fleet.instance_types.items():
        for position, instance_type in enumerate(instance_types):
            yield from _instance_type_problems(
                (*path, "instance_types", architecture, position), instance_type, architecture
            )
    lives = CertificateLives(
        server=timedelta(days=fleet.certificates.server_life_days),
        client=timedelta(days=fleet.certificates.client_life_days),
    )
    longest = lives.longest_instance_lifetime.days
    if fleet.max_instance_lifetime_days > longest:
        yield refused(
            (*path, "max_instance_lifetime_days"),
            fleet.max_instance_lifetime_days,
            f"at most {longest}, a third of certificates.server_life_days ({fleet.certificates.server_life_days}) less "
            "5 days for a late renewal and a late replacement, or builders outlive their certificates",
            "lower it or raise certificates.server_life_days",
        )
    yield from scaling_problems((*path, "scaling"), fleet)
    yield from _volume_problems((*path, "volume"), fleet.volume)


def _instance_type_problems(path: KeyPath, instance_type: str, architecture: Architecture) -> Iterator[Problem]:
    actual = instance_type_architecture(instance_type)
    if actual and actual is not architecture:
        yield refused(
            path,
            f"{quote(instance_type)}, which looks like {actual}",
            f"{architecture} types",
            f"move it to {actual}, or take for example {DEFAULT_INSTANCE_TYPES[architecture][0]}",
        )


def _volume_problems(path: KeyPath, volume: VolumeConfig) -> Iterator[Problem]:
    most_iops = volume.size_gib * MOST_IOPS_PER_GIB
    if volume.iops > most_iops:
        allowed = f"at most {most_iops}, {MOST_IOPS_PER_GIB} for each GiB of size_gib ({volume.size_gib})"
        yield refused((*path, "iops"), volume.iops, allowed, "lower it or raise size_gib")
    most_throughput = volume.iops // LEAST_IOPS_PER_MIBPS
    if volume.throughput > most_throughput:
        allowed = f"at most {most_throughput}, a quarter of iops ({volume.iops})"
        yield refused((*path, "throughput"), volume.throughput, allowed, "lower it or raise iops")


def tier_problems(builders: Mapping[str, FleetConfig]) -> Iterator[Problem]:
    """Check that no two fleets write one scope: that would join two trust tiers."""
    writers: dict[str, str] = {}
    for name, fleet in builders.items():
        path = ("builders", name)
        writer = writers.setdefault(fleet.cache.write, name)
        if writer != name:
            yield refused(
                (*path, "cache", "write"),
                quote(fleet.cache.write),
                f"a scope that no other fleet writes, and {writer} writes this one",
                "write a scope of its own, and list this one under read if it may be trusted",
            )


def reader_problems(builders: Mapping[str, FleetConfig]) -> Iterator[Problem]:
    """Check that every scope that is read is written by some fleet."""
    written = [fleet.cache.write for fleet in builders.values()]
    for name, fleet in builders.items():
        for scope in fleet.cache.read:
            if scope not in written:
                yield refused(
                    ("builders", name, "cache", "read"),
                    quote(scope),
                    f"scopes that a fleet writes ({listing(written)})",
                    "correct it, or add a fleet that writes it",
                )
