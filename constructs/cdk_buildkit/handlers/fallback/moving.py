"""Which of a fleet's two groups is to have the builders that the other cannot launch; without calls to AWS."""

from dataclasses import dataclass

from cdk_buildkit.handlers.group_state import GroupState, wanted


@dataclass(frozen=True, kw_only=True)
class Capacities:
    """What the groups are to have.

    Args:
        spot: The desired capacity of the group on spot capacity.
        on_demand: The desired capacity of the group on demand.
        on_demand_minimum: The minimum of the group on demand: below it none of its builders ends itself.
    """

    spot: int
    on_demand: int
    on_demand_minimum: int


def as_they_are(spot: GroupState, on_demand: GroupState) -> Capacities:
    """Return what the groups have been told to have."""
    return Capacities(spot=spot.desired, on_demand=on_demand.desired, on_demand_minimum=on_demand.minimum)


def after_spot_failed(spot: GroupState, on_demand: GroupState) -> Capacities:
    """Want on demand what spot capacity has not, and let spot capacity be tried again when more builders are wanted.

    Auto Scaling lowers no group below its minimum and goes on trying for that many. The group on demand gets as many
    for its own minimum, so that they stay, idle or not, as the fleet's minimum would.
    """
    live = min(spot.live, spot.desired)
    if live == spot.desired:
        return as_they_are(spot, on_demand)
    return Capacities(
        spot=max(spot.minimum, live),
        on_demand=min(on_demand.maximum, wanted(spot, on_demand) - live),
        on_demand_minimum=min(on_demand.maximum, max(0, spot.minimum - live)),
    )


def after_spot_launched(spot: GroupState, on_demand: GroupState) -> Capacities:
    """Let those on demand go that stand for what the minimum of the group on spot capacity has again: when idle."""
    return Capacities(
        spot=spot.desired,
        on_demand=on_demand.desired,
        on_demand_minimum=min(on_demand.minimum, max(0, spot.minimum - spot.live)),
    )


def after_on_demand_failed(spot: GroupState, on_demand: GroupState) -> Capacities:
    """Try spot capacity again for what cannot be had on demand either."""
    live = min(on_demand.live, on_demand.desired)
    minimum = min(on_demand.minimum, live)
    back = wanted(spot, on_demand) - live + minimum
    return Capacities(spot=min(spot.maximum, back), on_demand=live, on_demand_minimum=minimum)
