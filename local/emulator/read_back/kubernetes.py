"""Reads EKS clusters back, and what they were told: as the emulator keeps it, for no service here has it."""

from collections.abc import Mapping
from typing import Any

from local.emulator.cloudformation.kubernetes import TYPES
from local.emulator.control_client import ask
from local.emulator.read_back.reader import Account, Found, Reader


def _record(account: Account, physical_id: str, declared: Mapping[str, Any]) -> Found:
    kept: dict[str, Any] = ask(account.client("cloudformation").meta.endpoint_url, "kubernetes", {})["records"]
    record = kept.get(physical_id, {"properties": dict.fromkeys(declared), "attributes": {}})
    return Found(record["properties"], record["attributes"])


READERS = {name: Reader(_record) for name in TYPES}
