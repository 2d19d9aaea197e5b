"""Stopped builders that keep their local store, for a fleet that wakes them instead of launching new ones."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmPool:
    """The warm pool of an Auto Scaling group: instances that have booted once and are stopped until they are needed.

    A stopped builder costs its volumes alone. It wakes with its store, so the layers that it built are there.

    Args:
        min_size: Builders of each architecture that are stopped in the pool at the least.
        max_prepared_capacity: Builders in service and in the pool together, at most. Default: `max_capacity`.
        reuse_on_scale_in: A builder that leaves the group goes into the pool with its store, instead of ending.

    Raises:
        ValueError: A size is negative.
    """

    min_size: int = 0
    max_prepared_capacity: int | None = None
    reuse_on_scale_in: bool = True

    def __post_init__(self) -> None:
        for name, size in (("min_size", self.min_size), ("max_prepared_capacity", self.max_prepared_capacity or 0)):
            if size < 0:
                raise ValueError(f"a warm pool's {name} is 0 or more; got {size}: raise it")
