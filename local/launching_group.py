"""An Auto Scaling group without a balancer that launches real builders, and ends them, as its desired capacity says."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.builder import Builder
from local.query_api import QueryApi, RefusedCallError

_TICK_SECONDS = 0.1
_NO_ACTION = "No active Lifecycle Action found with instance ID {}"
_UNFULFILLED = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token {} was abandoned: {}"
_BY_HOST = "Lifecycle Action Completed with ABANDON Result"
_BY_TIME = "Heartbeat Timeout"


@dataclass
class _Instance:
    builder: Builder
    activity: dict[str, Any]
    launched: float = field(default_factory=time.monotonic)
    state: str = "Pending:Wait"


class LaunchingGroup:
    """A group with a launching hook, and nothing else that could hold an instance up.

    It says what it does as Auto Scaling does, in states and activities. What Auto Scaling does with an instance that is
    not wanted any more while its hook waits is not documented; here it stays until the hook is answered or times out,
    which is the harder case for who waits.

    Args:
        host: The address to listen on.
        mixed_instances_policy: What it launches, as it describes it.
        launch: Launches a builder of the group.
        hook: The launching hook, whose default result is ABANDON.
        heartbeat_timeout: How long the hook waits, in seconds.
        refused_launches: The words with which EC2 refuses the next launches.
        refused_calls: The codes with which the next calls for another capacity are refused.
        name: The group's name.
    """

    def __init__(
        self,
        host: str,
        *,
        mixed_instances_policy: Mapping[str, Any],
        launch: Callable[[], Builder],
        hook: str = "boot",
        heartbeat_timeout: float = 60,
        refused_launches: Iterable[str] = (),
        refused_calls: Iterable[str] = (),
        name: str = "proof",
    ) -> None:
        self.name = name
        self.capacities: list[int] = []
        self.answers: list[tuple[str, str]] = []
        self.launches = 0
        self._policy = mixed_instances_policy
        self._launch = launch
        self._hook = hook
        self._heartbeat_timeout = heartbeat_timeout
        self._refused_launches = iter(refused_launches)
        self._refused_calls = iter(refused_calls)
        self._capacity = 0
        self._activities: list[dict[str, Any]] = []
        self._activity_numbers = itertools.count(1)
        self._instances: list[_Instance] = []
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._api = QueryApi(host, self._answer)
        self.endpoint = self._api.endpoint
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def builders(self) -> list[Builder]:
        """The builders that are in the group."""
        with self._lock:
            return [each.builder for each in self._instances]

    def close(self) -> None:
        """End every builder, and stop listening."""
        self._closed.set()
        self._thread.join()
        self._api.close()
        for each in self._instances:
            each.builder.destroy()

    def _answer(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            match parameters["Action"]:
                case "SetDesiredCapacity":
                    if code := next(self._refused_calls, None):
                        raise RefusedCallError(code, "refused on purpose")
                    self._capacity = int(parameters["DesiredCapacity"])
                    self.capacities.append(self._capacity)
                    return {}
                case "DescribeAutoScalingGroups":
                    wanted = parameters["AutoScalingGroupNames.member.1"]
                    return {"AutoScalingGroups": [self._description()] if wanted == self.name else []}
                case "DescribeScalingActivities":
                    return {"Activities": list(reversed(self._activities))}
                case "CompleteLifecycleAction":
                    self._complete(parameters["InstanceId"], parameters["LifecycleActionResult"])
                    return {}
                case action:
                    raise RefusedCallError("InvalidAction", f"{action} has no meaning here")

    def _description(self) -> dict[str, Any]:
        return {
            "AutoScalingGroupName": self.name,
            "DesiredCapacity": self._capacity,
            "MinSize": 0,
            "MaxSize": 1,
            "MixedInstancesPolicy": self._policy,
            "VPCZoneIdentifier": "subnet-0",
            "Instances": [
                {"InstanceId": each.builder.instance_id, "LifecycleState": each.state, "HealthStatus": "Healthy"}
                for each in self._instances
            ],
        }

    def _complete(self, instance_id: str, result: str) -> None:
        waiting = (each for each in self._instances if each.builder.instance_id == instance_id)
        instance = next((each for each in waiting if each.state == "Pending:Wait"), None)
        if instance is None:
            raise RefusedCallError("ValidationError", _NO_ACTION.format(instance_id))
        self.answers.append((instance_id, result))
        if result == "CONTINUE":
            instance.state = "InService"
            instance.activity["StatusCode"] = "Successful"
        else:
            self._abandon(instance, _BY_HOST)

    def _abandon(self, instance: _Instance, why: str) -> None:
        words = _UNFULFILLED.format(f"token-of-{instance.builder.instance_id}", why)
        instance.activity |= {"StatusCode": "Cancelled", "StatusMessage": words}
        instance.activity["Description"] += f".  Status Reason: {words}"
        instance.state = "Terminating"

    def _run(self) -> None:
        while not self._closed.wait(_TICK_SECONDS):
            with self._lock:
                self._time_out()
                if self._capacity > len([each for each in self._instances if each.state != "Terminating"]):
                    self._start_launch()
                for each in self._instances[self._capacity :]:
                    if each.state == "InService":
                        each.state = "Terminating"
                leaving = [each for each in self._instances if each.state == "Terminating"]
            for each in leaving:
                self._note(f"Terminating EC2 instance: {each.builder.instance_id}", "Successful")
                each.builder.destroy()
                with self._lock:
                    self._instances.remove(each)

    def _time_out(self) -> None:
        for each in self._instances:
            if each.state == "Pending:Wait" and time.monotonic() - each.launched > self._heartbeat_timeout:
                self._abandon(each, _BY_TIME)

    def _start_launch(self) -> None:
        if words := next(self._refused_launches, None):
            description = f"Launching a new EC2 instance.  Status Reason: {words}"
            self._note(description, "Failed")["StatusMessage"] = words
            return
        self.launches += 1
        builder = self._launch()
        activity = self._note(f"Launching a new EC2 instance: {builder.instance_id}", "MidLifecycleAction")
        self._instances.append(_Instance(builder, activity))

    def _note(self, description: str, status: str) -> dict[str, Any]:
        activity = {
            "ActivityId": f"activity-{next(self._activity_numbers)}",
            "AutoScalingGroupName": self.name,
            "Description": description,
            "Cause": "a difference between desired and actual capacity",
            "StartTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "StatusCode": status,
        }
        self._activities.append(activity)
        return activity
