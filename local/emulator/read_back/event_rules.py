"""Reads EventBridge rules and their targets back."""

import json
from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _rule(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    events = account.client("events")
    rule = events.describe_rule(Name=physical_id)
    pattern = rule.get("EventPattern")
    return Found(
        {
            "EventPattern": json.loads(pattern) if pattern else None,
            "Tags": events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"],
            "Targets": events.list_targets_by_rule(Rule=physical_id)["Targets"],
            **pick(rule, "Description", "Name", "ScheduleExpression", "State"),
        },
        {"Arn": rule["Arn"]},
    )


READERS = {
    "AWS::Events::Rule": Reader(
        _rule, frozenset({"Targets"}), closed=frozenset({"EventPattern", "ScheduleExpression", "Targets"})
    )
}
