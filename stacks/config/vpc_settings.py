"""A VPC that exists."""

from dataclasses import dataclass

from stacks.config.values import AvailabilityZone, Cidr, SubnetId, VpcId


@dataclass(frozen=True, kw_only=True)
class VpcConfig:
    """A VPC that exists, named by ids: nothing is looked up.

    Args:
        id: The VPC's id.
        cidr: Its IPv4 block.
        availability_zones: The zones of the subnets, each once, of one region.
        private_subnet_ids: One subnet for each of the zones, in their order, with a route to the internet and to S3.
    """

    id: VpcId
    cidr: Cidr
    availability_zones: tuple[AvailabilityZone, ...]
    private_subnet_ids: tuple[SubnetId, ...]
