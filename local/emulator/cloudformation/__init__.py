"""CloudFormation for the emulated account: moto's stacks, with our own resource types in place of moto's.

moto reports success for resources, and properties of resources, that it does not create. Here a type that is not in
`RESOURCE_TYPES` fails the stack, and so does a property that its type does not look at.
"""

from local.emulator.cloudformation import (
    compute,
    identity,
    load_balancing,
    naming,
    network,
    regional,
    security_groups,
    storage,
)
from local.emulator.cloudformation.resource_type import ResourceType

RESOURCE_TYPES: dict[str, ResourceType] = {
    **compute.TYPES,
    **identity.TYPES,
    **load_balancing.TYPES,
    **naming.TYPES,
    **network.TYPES,
    **regional.TYPES,
    **security_groups.TYPES,
    **storage.TYPES,
}
