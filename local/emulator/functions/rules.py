"""EventBridge's rules: at their time, or at an event, they invoke the functions that let them."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.events.models import Rule, events_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.policy import Decision, decide
from local.emulator.resource_policies import resource_policy

_SERVICE = "events.amazonaws.com"

_SCHEDULED: dict[str, Any] = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
"""https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html."""


def fire(name: str) -> list[Any]:
    """Invoke the targets of a rule, and return what they return.

    Raises:
        LookupError: There is no such rule, it is off, a target is no function or fails, or EventBridge may not invoke
            it.
    """
    rule = events_backends[ACCOUNT][REGION].event_buses["default"].rules.get(name)
    if rule is None or rule.state != "ENABLED":
        raise LookupError(f"there is no enabled rule {name}")
    return [_invoke(rule, target, _envelope(_SCHEDULED, [rule.arn])) for target in rule.targets]


def send(event: dict[str, Any]) -> None:
    """Invoke the targets of every enabled rule whose pattern an event matches. What they return is nobody's.

    Args:
        event: Its `source`, `detail-type` and `detail`.

    Raises:
        LookupError: A target is no function or fails, or EventBridge may not invoke it.
    """
    whole: Any = _envelope(event, [])  # a typed dictionary to moto
    for rule in list(events_backends[ACCOUNT][REGION].event_buses["default"].rules.values()):
        if rule.state == "ENABLED" and rule.event_pattern.dump() and rule.event_pattern.matches_event(whole):
            for target in rule.targets:
                _invoke(rule, target, whole)


def _invoke(rule: Rule, target: dict[str, Any], sent: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    function = target["Arn"]
    if not function.startswith("arn:aws:lambda:") or set(target) - {"Arn", "Id", "Input"}:
        raise LookupError(f"the target {target} is not emulated: a function's ARN and its input are")
    context = {"aws:sourcearn": rule.arn, "aws:sourceaccount": ACCOUNT}
    policy = resource_policy(function)
    if decide(policy, "lambda:InvokeFunction", function, context, [f"Service:{_SERVICE}"]) is not Decision.ALLOW:
        raise LookupError(f"{_SERVICE} may not invoke {function} for {rule.arn}")
    headers: dict[str, str] = {}
    event = target.get("Input", json.dumps(sent))
    payload = lambda_backends[ACCOUNT][REGION].invoke(function, None, event, {}, headers)
    if "x-amz-function-error" in headers:
        raise LookupError(f"{function} failed: {payload!r}")
    return json.loads(payload or b"null")


def _envelope(event: dict[str, Any], resources: list[str]) -> dict[str, Any]:
    """Return an event as a target without an input of its own is sent it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "account": ACCOUNT,
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": resources,
        **event,
    }
