"""Mends moto's services where they are wrong about something that the templates declare."""

from collections.abc import Mapping

from moto.elbv2.models import ELBv2Backend

_LONGEST_DEREGISTRATION_DELAY = "3600"


def mend() -> None:
    """Mend this process's moto."""
    ELBv2Backend.modify_target_group_attributes = _accepting_an_hour(ELBv2Backend.modify_target_group_attributes)


def _accepting_an_hour(modify: object) -> object:
    """Accept the longest deregistration delay that AWS does: moto ends one second earlier."""
    name = "deregistration_delay.timeout_seconds"

    def wrapper(backend: ELBv2Backend, target_group_arn: str, attributes: Mapping[str, str]) -> None:
        longest = attributes.get(name) == _LONGEST_DEREGISTRATION_DELAY
        modify(backend, target_group_arn, {key: value for key, value in attributes.items() if key != name or not longest})
        if longest:
            backend.target_groups[target_group_arn].attributes[name] = _LONGEST_DEREGISTRATION_DELAY

    return wrapper
