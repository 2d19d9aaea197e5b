"""CloudFormation for the emulated account: moto's stacks, with our own resource types in place of moto's.

moto reports success for resources, and properties of resources, that it does not create. Here a type that is not in
`RESOURCE_TYPES` fails the stack, and so does a property that its type does not look at.
"""

from local.emulator.cloudformation import (
    compute,
    custom_resources,
    dynamodb,
    event_rules,
    group_scaling,
    identity,
    kubernetes,
    lambda_functions,
    load_balancing,
    monitoring,
    naming,
    network,
    notifications,
    regional,
    secrets_manager,
    security_groups,
    storage,
)
from local.emulator.cloudformation.custom_resources import CUSTOM_RESOURCE
from local.emulator.cloudformation.resource_type import ResourceType

RESOURCE_TYPES: dict[str, ResourceType] = {
    **compute.TYPES,
    **custom_resources.TYPES,
    **dynamodb.TYPES,
    **event_rules.TYPES,
    **group_scaling.TYPES,
    **identity.TYPES,
    **kubernetes.TYPES,
    **lambda_functions.TYPES,
    **load_balancing.TYPES,
    **monitoring.TYPES,
    **naming.TYPES,
    **network.TYPES,
    **notifications.TYPES,
    **regional.TYPES,
    **secrets_manager.TYPES,
    **security_groups.TYPES,
    **storage.TYPES,
}


def resource_type_of(type_name: str) -> ResourceType | None:
    """Return the type of that name. None: there is none here."""
    known = RESOURCE_TYPES.get(type_name)
    return known or (RESOURCE_TYPES[CUSTOM_RESOURCE] if type_name.startswith("Custom::") else None)
