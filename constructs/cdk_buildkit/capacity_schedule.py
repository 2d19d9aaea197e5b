"""A change of a fleet's capacities at given times: more builders in office hours, none at night."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CapacitySchedule:
    """A scheduled action on the Auto Scaling groups of a fleet, the same for each architecture.

    Args:
        cron: When, in five fields: minute, hour, day of month, month, day of week, as `0 8 * * MON-FRI`.
        time_zone: The zone of those hours in the words of IANA, as `Europe/Berlin`. Daylight saving is followed.
        min_capacity: Builders that always run from then on. Default: unchanged.
        max_capacity: Builders that may run at once from then on. Default: unchanged.

    Raises:
        ValueError: Neither capacity is given, one is negative, or the minimum is above the maximum.
    """

    cron: str
    time_zone: str = "UTC"
    min_capacity: int | None = None
    max_capacity: int | None = None

    def __post_init__(self) -> None:
        given = f"got cron {self.cron!r}, min_capacity {self.min_capacity}, max_capacity {self.max_capacity}"
        if self.min_capacity is None and self.max_capacity is None:
            raise ValueError(f"a schedule changes min_capacity, max_capacity or both; {given}: give one")
        least = self.min_capacity or 0
        if least < 0 or (self.max_capacity is not None and self.max_capacity < max(least, 1)):
            raise ValueError(
                f"a schedule's capacities are 0 <= min_capacity <= max_capacity and 1 <= max_capacity; {given}: lower "
                "the one or raise the other"
            )
