"""The calls by which a builder leaves its fleet: to its target group and to its Auto Scaling group."""

from __future__ import annotations

import json
from typing import NamedTuple

from .aws_command import CallError, aws

_NO_ACTION = "No active Lifecycle Action"
_MIN_SIZE = "min size"


class NotWaitedForError(CallError):
    """The hook does not wait for this builder: not yet, not any more, or not at all."""


class AtMinimumError(CallError):
    """The group has as few builders as it may have: Auto Scaling keeps this one."""


class Fleet(NamedTuple):
    """A builder's place: its instance id, target group and Auto Scaling group, None when it is in no group."""

    instance_id: str
    target_group: str
    group: str | None

    def deregister(self) -> None:
        """Leave the target group; does nothing when the builder is not in it.

        Raises:
            CallError: AWS refused.
        """
        aws("elbv2", "deregister-targets", f"--target-group-arn={self.target_group}", f"--targets={self._target}")

    def target_states(self) -> list[str]:
        """Return the states in which the target group lists the builder.

        Raises:
            CallError: AWS refused.
        """
        answer = aws(
            "elbv2", "describe-target-health", f"--target-group-arn={self.target_group}", f"--targets={self._target}"
        )
        return [target["TargetHealth"]["State"] for target in json.loads(answer)["TargetHealthDescriptions"]]

    def healthy_targets(self) -> list[str]:
        """Return the instance ids of all builders that the target group sends new connections to.

        Raises:
            CallError: AWS refused.
        """
        answer = json.loads(aws("elbv2", "describe-target-health", f"--target-group-arn={self.target_group}"))
        targets = answer["TargetHealthDescriptions"]
        return [target["Target"]["Id"] for target in targets if target["TargetHealth"]["State"] == "healthy"]

    def retire(self) -> None:
        """Let Auto Scaling end this builder, or put it into the warm pool, and launch no other in its place.

        Raises:
            AtMinimumError: The group's minimum needs it.
            CallError: AWS refused for another reason.
        """
        try:
            aws(
                *("autoscaling", "terminate-instance-in-auto-scaling-group", f"--instance-id={self.instance_id}"),
                "--should-decrement-desired-capacity",
            )
        except CallError as error:
            # Likewise one of the validation errors; its words are in aws/aws-cli#47.
            if _MIN_SIZE in str(error):
                raise AtMinimumError(str(error)) from error
            raise

    def heartbeat(self, hook: str) -> None:
        """Ask Auto Scaling for one more heartbeat timeout.

        Raises:
            NotWaitedForError: The hook does not wait for this builder.
            CallError: AWS refused for another reason.
        """
        self._lifecycle("record-lifecycle-action-heartbeat", hook)

    def complete(self, hook: str) -> None:
        """Tell Auto Scaling to go on.

        Raises:
            NotWaitedForError: The hook does not wait for this builder.
            CallError: AWS refused for another reason.
        """
        self._lifecycle("complete-lifecycle-action", hook, "--lifecycle-action-result=CONTINUE")

    def ask_for_replacement(self) -> None:
        """Tell Auto Scaling that this builder is of no use, which EC2's own checks cannot see.

        Raises:
            CallError: AWS refused.
        """
        aws(
            *("autoscaling", "set-instance-health", f"--instance-id={self.instance_id}"),
            *("--health-status=Unhealthy", "--no-should-respect-grace-period"),
        )

    @property
    def _target(self) -> str:
        return f"Id={self.instance_id}"

    def _lifecycle(self, action: str, hook: str, *options: str) -> None:
        try:
            aws(
                *("autoscaling", action, f"--lifecycle-hook-name={hook}", f"--auto-scaling-group-name={self.group}"),
                *(f"--instance-id={self.instance_id}", *options),
            )
        except CallError as error:
            # AWS has no error code of its own for it: it is one of the validation errors.
            if _NO_ACTION in str(error):
                raise NotWaitedForError(str(error)) from error
            raise
