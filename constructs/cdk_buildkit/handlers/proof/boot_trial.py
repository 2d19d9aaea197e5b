"""The proof itself: launches one builder, waits until it serves or does not, and ends it whatever happened."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from cdk_buildkit.handlers.proof.proof_group import ProofGroup, Sight
from cdk_buildkit.handlers.proof.verdict import ProofError, check_boot, no_answer, refusal, serving


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long, in seconds, what is waited for.

    Args:
        launch: For an instance, while Auto Scaling tries types and zones.
        boot: For a builder that serves, the launch included.
        removal: Until an instance is on its way out.
        poll: Between two looks.
    """

    launch: float
    boot: float
    removal: float
    poll: float


class BootTrial:
    """A boot in a group that is empty before and after.

    Args:
        group: The group.
        patience: How long it waits.
    """

    def __init__(self, group: ProofGroup, patience: Patience) -> None:
        self._group = group
        self._patience = patience

    def run(self) -> None:
        """Boot a builder and end it.

        Raises:
            ProofError: It does not boot, cannot be launched, or one of an earlier trial is still there.
        """
        self._make_room()
        known = {each.activity_id for each in self._group.activities()}
        started = time.monotonic()
        try:
            self._group.set_capacity(1)
            instance_id = self._wait_until_serving(known)
            _log("booted", instance_id=instance_id, seconds=round(time.monotonic() - started, 1))
        finally:
            # At once: Auto Scaling launches another one for a builder that is abandoned.
            self._group.set_capacity(0)
            self._wait(_is_leaving, self._patience.removal)

    def stop(self) -> None:
        """Ask for an empty group, where it is not, and wait for nothing."""
        sight = self._group.look()
        if sight and sight.desired_capacity:
            self._group.set_capacity(0)

    def end(self) -> None:
        """Empty the group and see it empty, so that it can be deleted; do nothing when it is gone.

        Auto Scaling deletes a group only once it has no instance and no activity, unless it is forced:
        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DeleteAutoScalingGroup.html
        """
        self.stop()
        self._wait(lambda sight: not sight.instances, self._patience.boot)

    def _make_room(self) -> None:
        self.stop()
        if not self._wait(_is_leaving, self._patience.removal):
            raise ProofError(
                f"a builder of an earlier proof has not left the group {self._group.name} within "
                f"{self._patience.removal:g} s: deploy again in ten minutes, when its boot has timed out"
            )

    def _wait_until_serving(self, known: set[str]) -> str:
        patience = self._patience
        started = last_seen = time.monotonic()
        while True:
            sight = self._look()
            if instance_id := serving(sight.instances):
                return instance_id
            activities = [each for each in self._group.activities() if each.activity_id not in known]
            check_boot(activities)
            now = time.monotonic()
            instance = next((each for each in sight.instances if not each.is_leaving), None)
            if instance:
                last_seen = now
                if now - started >= patience.boot:
                    raise no_answer(instance, patience.boot)
            elif now - last_seen >= patience.launch or now - started >= patience.boot:
                raise refusal(activities, self._group.name, sight.instance_types, now - last_seen)
            time.sleep(patience.poll)

    def _wait(self, is_over: Callable[[Sight], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            sight = self._group.look()
            if sight is None or is_over(sight):
                return True
            if time.monotonic() >= until:
                _log(
                    "still_there", instances=[f"{each.instance_id} {each.lifecycle_state}" for each in sight.instances]
                )
                return False
            time.sleep(self._patience.poll)

    def _look(self) -> Sight:
        sight = self._group.look()
        if sight is None:
            raise ProofError(f"the Auto Scaling group {self._group.name} was deleted meanwhile: deploy the stack again")
        return sight


def _is_leaving(sight: Sight) -> bool:
    return all(each.is_leaving for each in sight.instances)


def _log(event: str, **details: object) -> None:
    print(json.dumps({"event": event, **details}))  # noqa: T201 - the function's log
