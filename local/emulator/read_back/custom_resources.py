"""Reads custom resources back: what their functions were last asked for, and have answered to have done.

AWS has no interface for that; the emulator has one.
"""

from collections.abc import Mapping
from typing import Any

from local.emulator.control_client import ask
from local.emulator.read_back.reader import Account, Found, Reader

CUSTOM_RESOURCE = "AWS::CloudFormation::CustomResource"


def _custom_resource(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    endpoint_url = account.client("cloudformation").meta.endpoint_url
    records: list[dict[str, Any]] = ask(endpoint_url, "custom-resources", {"physical_id": physical_id})["records"]
    own = [each for each in records if each["properties"].get("ServiceToken") == declared["ServiceToken"]]
    nothing: dict[str, Any] = {"properties": dict.fromkeys(declared), "attributes": {}}
    # Several may have one physical id: it is their function that chooses it.
    record = next((each for each in own if each["properties"].keys() == declared.keys()), (own or [nothing])[0])
    return Found(record["properties"], record["attributes"])


READERS = {CUSTOM_RESOURCE: Reader(_custom_resource)}
