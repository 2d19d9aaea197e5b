"""How many builders of one architecture a fleet has, and on which instance types."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2

from buildkit_ops.architecture import Architecture

DEFAULT_INSTANCE_TYPES = {
    Architecture.ARM64: ("c7gd.2xlarge", "m7gd.2xlarge", "c6gd.2xlarge", "m6gd.2xlarge"),
    Architecture.X86_64: ("c6id.2xlarge", "m6id.2xlarge", "c5d.2xlarge", "m5d.2xlarge"),
}
"""Compute and general purpose types with 8 vCPUs and local NVMe, the preferred first."""

_AWS_ARCHITECTURES = {
    Architecture.ARM64: ec2.InstanceArchitecture.ARM_64,
    Architecture.X86_64: ec2.InstanceArchitecture.X86_64,
}
_WITH_INSTANCE_STORE = re.compile(r"(i|im|is|d|h)\d.*|[a-z]+\d[a-z]*d[a-z]*")


@dataclass(frozen=True, kw_only=True)
class BuilderCapacity:
    """How many builders of one architecture there are, and of which kind.

    Args:
        min_capacity: Builders that always run.
        max_capacity: Builders that may run at once.
        instance_types: Acceptable instance types, the preferred first. Default: the architecture's
            `DEFAULT_INSTANCE_TYPES`.
        spot: Run them on spot capacity. Default: on demand.
        ami_id: An Amazon Linux 2023 AMI. Default: the latest at each launch.

    Raises:
        ValueError: A capacity is negative, no builder is allowed, the minimum is above the maximum, or an empty list
            of instance types is given.
    """

    min_capacity: int = 1
    max_capacity: int = 8
    instance_types: Sequence[str] | None = None
    spot: bool = False
    ami_id: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_capacity <= self.max_capacity or self.max_capacity < 1:
            raise ValueError(
                "a fleet's capacities are 0 <= min_capacity <= max_capacity and 1 <= max_capacity; got min_capacity "
                f"{self.min_capacity}, max_capacity {self.max_capacity}: lower the one or raise the other"
            )
        if self.instance_types is not None and not self.instance_types:
            raise ValueError("a fleet needs at least one instance type; got none: leave instance_types out or name one")

    def instance_types_for(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the instance types for builders of the architecture.

        Raises:
            ValueError: One of them is of another architecture.
        """
        types = tuple(self.instance_types or DEFAULT_INSTANCE_TYPES[architecture])
        for each in types:
            if ec2.InstanceType(each).architecture is not _AWS_ARCHITECTURES[architecture]:
                raise ValueError(
                    f"instance types of {architecture} builders are of that architecture; got {each}: name for "
                    f"example {DEFAULT_INSTANCE_TYPES[architecture][0]}"
                )
        return types


def has_instance_store(instance_type: str) -> bool:
    """Tell by its name whether an instance type surely has local NVMe.

    A `d` among the attributes says so, or a storage-optimized family
    (https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html). A few others have it too; they
    get a volume that they do not use.
    """
    return bool(_WITH_INSTANCE_STORE.fullmatch(instance_type.partition(".")[0]))
