"""An Auto Scaling group and its target group, as far as a builder's host speaks to them: answers, and records calls."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.balancer import Balancer
from local.builder import Builder
from local.query_api import QueryApi, RefusedCallError

_PATIENCE_SECONDS = 60
_STATE = "meta-data/autoscaling/target-lifecycle-state"
_BUILDKIT_PORT = 1234
_AT_MINIMUM = (
    "Currently, desiredSize equals minSize ({0}). Terminating instance without replacement will violate group's min "
    "size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size."
)
_NO_ACTION = "No active Lifecycle Action found with instance ID {}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a host: when (`time.monotonic`), what, for which instance and hook, its result, and the answer."""

    at: float
    action: str
    instance_id: str
    hook: str
    result: str
    accepted: bool


@dataclass
class _Action:
    completed: threading.Event = field(default_factory=threading.Event)
    result: str = ""


class AutoScaling:
    """One group of builders behind a balancer, with a launching and a terminating hook.

    It answers the calls of `host/fleet_calls.py` at `endpoint`, for both services.

    Args:
        host: The address to listen on.
        balancer: The target group.
        launching_hook: The hook that a new builder has to answer.
        terminating_hook: The hook that a builder has to answer when it is to end.
        name: The group's name.
        retired_state: The target state of a builder that retires: `Warmed:Stopped` in a group with a warm pool.
        hook_delay: Seconds from a builder's new target state to the terminating hook. A real group waits for the target
            group's deregistration delay.
    """

    def __init__(
        self,
        host: str,
        balancer: Balancer,
        *,
        launching_hook: str,
        terminating_hook: str,
        name: str = "builders",
        retired_state: str = "Terminated",
        hook_delay: float = 0.0,
    ) -> None:
        self.name = name
        self.minimum = 0
        self.desired = 0
        self.calls: list[Call] = []
        self._balancer = balancer
        self._launching_hook = launching_hook
        self._terminating_hook = terminating_hook
        self._retired_state = retired_state
        self._hook_delay = hook_delay
        self._builders: dict[str, Builder] = {}
        self._lock = threading.Lock()
        self._actions: dict[tuple[str, str], _Action] = {}
        self._refusals_left = 0
        self._api = QueryApi(host, self._answer)
        self.endpoint = self._api.endpoint

    def launch(self, boot: Callable[[], Builder]) -> Builder:
        """Launch a builder, wait for its answer to the launching hook and put it behind the balancer.

        Raises:
            TimeoutError: It did not answer, or is not healthy.
        """
        self.desired += 1
        builder = boot()
        self._builders[builder.instance_id] = builder
        self._wait(builder.instance_id, self._launching_hook)
        self._balancer.register(builder.instance_id, builder.address, _BUILDKIT_PORT)
        self._balancer.wait_until_healthy(builder.instance_id)
        return builder

    def start_termination(self, builder: Builder, target_state: str = "Terminated") -> None:
        """Put a builder into `Terminating:Wait`. The target group is left for the builder to leave: the harder case."""
        if self._hook_delay:
            waiting = threading.Timer(self._hook_delay, self._action, [builder.instance_id, self._terminating_hook])
            waiting.daemon = True
            waiting.start()
        else:
            self._action(builder.instance_id, self._terminating_hook)
        builder.set_metadata(_STATE, target_state)

    def wait_for_drain(self, builder: Builder, seconds: float = _PATIENCE_SECONDS) -> str:
        """Wait for the builder's answer to the terminating hook, and return it.

        Raises:
            TimeoutError: It did not answer.
        """
        return self._wait(builder.instance_id, self._terminating_hook, seconds)

    def return_from_pool(self, builder: Builder) -> None:
        """Put a builder of the warm pool into service again, and behind the balancer once it has answered.

        Raises:
            TimeoutError: It did not answer, or is not healthy.
        """
        with self._lock:
            self.desired += 1
            self._actions[builder.instance_id, self._launching_hook] = _Action()
            self._actions.pop((builder.instance_id, self._terminating_hook), None)
        builder.set_metadata(_STATE, "InService")
        self._wait(builder.instance_id, self._launching_hook)
        self._balancer.register(builder.instance_id, builder.address, _BUILDKIT_PORT)
        self._balancer.wait_until_healthy(builder.instance_id)

    def refuse(self, calls: int) -> None:
        """Refuse that many of the next calls."""
        self._refusals_left = calls

    def close(self) -> None:
        """Stop listening."""
        self._api.close()

    def _answer(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        action = parameters["Action"]
        instance_id = parameters.get("InstanceId") or parameters.get("Targets.member.1.Id", "")
        hook = parameters.get("LifecycleHookName", "")
        result = parameters.get("LifecycleActionResult") or parameters.get("HealthStatus", "")
        with self._lock:
            refused = self._refusals_left > 0
            self._refusals_left -= refused
        error = "refused on purpose" if refused else self._perform(action, instance_id, hook, result)
        self.calls.append(
            Call(
                at=time.monotonic(),
                action=action,
                instance_id=instance_id,
                hook=hook,
                result=result,
                accepted=error is None,
            )
        )
        if error:
            raise RefusedCallError("AccessDenied" if refused else "ValidationError", error)
        return self._result(action, instance_id)

    def _perform(self, action: str, instance_id: str, hook: str, result: str) -> str | None:
        match action:
            case "DeregisterTargets":
                self._balancer.deregister(instance_id)
            case "DescribeTargetHealth" | "SetInstanceHealth":
                pass
            case "TerminateInstanceInAutoScalingGroup":
                return self._retire(self._builders[instance_id])
            case "RecordLifecycleActionHeartbeat" | "CompleteLifecycleAction":
                known = self._actions.get((instance_id, hook))
                if known is None and hook == self._launching_hook:
                    known = self._action(instance_id, hook)  # it is booting: its id is not known here yet
                if known is None or known.completed.is_set():
                    return _NO_ACTION.format(instance_id)
                if action == "CompleteLifecycleAction":
                    known.result = result
                    known.completed.set()
            case _:
                return f"{action} has no meaning here"
        return None

    def _result(self, action: str, instance_id: str) -> dict[str, Any]:
        if action != "DescribeTargetHealth":
            return {}
        asked = [instance_id] if instance_id else self._balancer.targets
        return {
            "TargetHealthDescriptions": [
                {"Target": {"Id": each}, "TargetHealth": {"State": self._balancer.state(each)}} for each in asked
            ]
        }

    def _retire(self, builder: Builder) -> str | None:
        """End a builder, and want one fewer, as a group does that is asked to do both; or say why not."""
        with self._lock:
            if self.desired <= self.minimum:
                return _AT_MINIMUM.format(self.minimum)
            self.desired -= 1
        self.start_termination(builder, self._retired_state)
        return None

    def _action(self, instance_id: str, hook: str) -> _Action:
        with self._lock:
            return self._actions.setdefault((instance_id, hook), _Action())

    def _wait(self, instance_id: str, hook: str, seconds: float = _PATIENCE_SECONDS) -> str:
        action = self._action(instance_id, hook)
        if not action.completed.wait(seconds):
            raise TimeoutError(f"{instance_id} did not answer the hook {hook} in {seconds} s")
        return action.result
