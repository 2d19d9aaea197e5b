"""What a group's instances and activities say of a boot. No input or output.

Activities are read as Auto Scaling writes them:
https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_INSTANCE_ID = re.compile(r"\bi-[0-9a-f]+\b")
_LAUNCH = "Launching"
_UNSUCCESSFUL = {"Failed", "Cancelled"}
_NO_CAPACITY = re.compile(
    "InsufficientInstanceCapacity|UnfulfillableCapacity|do not have sufficient .+ capacity|no Spot capacity"
)
_SKIP = "To deploy without this proof, set prove_boot to false"


class ProofError(Exception):
    """A builder did not boot; the message says why and how to mend it."""


class BootError(ProofError):
    """An instance was launched and did not come to serve."""


class LaunchError(ProofError):
    """Auto Scaling could not launch an instance."""


class NoCapacityError(LaunchError):
    """EC2 had no capacity: the launch template is not to blame."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance in the group: its id and its lifecycle state, in Auto Scaling's words."""

    instance_id: str
    lifecycle_state: str

    @property
    def is_leaving(self) -> bool:
        """Whether Auto Scaling is ending it."""
        return self.lifecycle_state.startswith("Terminat")


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A scaling activity: its id, and `StatusCode`, `StatusMessage` and `Description` in Auto Scaling's words."""

    activity_id: str
    status_code: str
    status_message: str
    description: str

    @property
    def instance_id(self) -> str | None:
        """The instance that it launched or ended, if it came so far."""
        found = _INSTANCE_ID.search(self.description)
        return found and found[0]

    @property
    def is_failed_launch(self) -> bool:
        """Whether it was to launch an instance, and has ended without success."""
        return self.description.startswith(_LAUNCH) and self.status_code in _UNSUCCESSFUL

    @property
    def words(self) -> str:
        """Why it ended so."""
        return self.status_message or self.description


def serving(instances: Iterable[Instance]) -> str | None:
    """Return the id of the instance that has booted and said so, or None."""
    return next((each.instance_id for each in instances if each.lifecycle_state == "InService"), None)


def check_boot(activities: Iterable[Activity]) -> None:
    """Refuse a launch that came as far as an instance and no further.

    Raises:
        BootError: An instance was abandoned, or did not live.
    """
    for activity in activities:
        if activity.is_failed_launch and activity.instance_id:
            raise BootError(
                f"the builder {activity.instance_id} did not boot: {activity.words}. {_where(activity.instance_id)}"
            )


def refusal(activities: Sequence[Activity], group: str, instance_types: Iterable[str], seconds: float) -> LaunchError:
    """Return the error of a group that has launched no instance, by the latest thing that it says.

    A single refusal proves nothing: Auto Scaling goes on to other instance types and zones, and comes back.

    Args:
        activities: The group's, the latest first.
        group: Its name.
        instance_types: What it may launch.
        seconds: How long it has been waited for.
    """
    words = next((each.words for each in activities if each.is_failed_launch), "")
    if _NO_CAPACITY.search(words):
        return NoCapacityError(
            f"EC2 had no capacity for a builder within {seconds:.0f} s, of any of {', '.join(instance_types)} in any "
            f"zone of the fleet: {words} Add instance types or zones, or deploy later. {_SKIP}"
        )
    return LaunchError(
        f"Auto Scaling launched no builder in the group {group} within {seconds:.0f} s: "
        f"{words or 'it does not say why; look whether one of its processes is suspended.'} "
        f"Mend it and deploy again. {_SKIP}"
    )


def no_answer(instance: Instance, seconds: float) -> BootError:
    """Return the error of an instance that neither serves nor gives up."""
    return BootError(
        f"the builder {instance.instance_id} has neither served nor given up within {seconds:.0f} s, and is "
        f"{instance.lifecycle_state}. {_where(instance.instance_id)}"
    )


def _where(instance_id: str) -> str:
    # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html has the hour.
    return (
        "Its console says why, for an hour after its end: aws ec2 get-console-output --output text --instance-id "
        f"{instance_id}. Mend it and deploy again. {_SKIP}"
    )
