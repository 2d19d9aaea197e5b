"""How many builders of one architecture a fleet has, and on which instance types."""

from collections.abc import Sequence
from dataclasses import dataclass

from buildkit_ops.architecture import Architecture
from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES, instance_type_architecture


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
            if instance_type_architecture(each) is not architecture:
                raise ValueError(
                    f"instance types of {architecture} builders are of that architecture; got {each}: name for "
                    f"example {DEFAULT_INSTANCE_TYPES[architecture][0]}"
                )
        return types
