"""The calls by which a builder leaves its fleet: to its target group and to its Auto Scaling group.

They go through the AMI's own AWS command line tool.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import NamedTuple

_PATIENCE_SECONDS = 60
_NO_ACTION = "No active Lifecycle Action"


class CallError(Exception):
    """AWS refused a call, or did not answer; the message says which and why."""


class NotWaitedForError(CallError):
    """The hook does not wait for this builder: not yet, not any more, or not at all."""


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
        _aws("elbv2", "deregister-targets", f"--target-group-arn={self.target_group}", f"--targets={self._target}")

    def target_states(self) -> list[str]:
        """Return the states in which the target group lists the builder.

        Raises:
            CallError: AWS refused.
        """
        answer = _aws(
            "elbv2", "describe-target-health", f"--target-group-arn={self.target_group}", f"--targets={self._target}"
        )
        return [target["TargetHealth"]["State"] for target in json.loads(answer)["TargetHealthDescriptions"]]

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
        _aws(
            *("autoscaling", "set-instance-health", f"--instance-id={self.instance_id}"),
            *("--health-status=Unhealthy", "--no-should-respect-grace-period"),
        )

    @property
    def _target(self) -> str:
        return f"Id={self.instance_id}"

    def _lifecycle(self, action: str, hook: str, *options: str) -> None:
        try:
            _aws(
                *("autoscaling", action, f"--lifecycle-hook-name={hook}", f"--auto-scaling-group-name={self.group}"),
                *(f"--instance-id={self.instance_id}", *options),
            )
        except CallError as error:
            # AWS has no error code of its own for it: it is one of the validation errors.
            if _NO_ACTION in str(error):
                raise NotWaitedForError(str(error)) from error
            raise


def _aws(*arguments: str) -> str:
    command = ["aws", f"--region={os.environ['AWS_REGION']}", "--output=json", *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CallError(f"{arguments[0]} {arguments[1]}: no answer in {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        raise CallError(f"{arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout
