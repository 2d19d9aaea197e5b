"""A fleet of builders, whatever it runs on, and with whom its clients share their trust."""

from typing import Any

from constructs import Construct

from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet

BuilderFleet = Ec2BuilderFleet | EksBuilderFleet


def other_readers(builders: BuilderFleet) -> list[str]:
    """Return the paths of the principals beside the fleet's own that were granted to read its scope so far."""
    readers = {_name(each) for cache in builders.caches.values() for each in cache.readers(builders.write)}
    return sorted(readers - {_name(builders.role)})


def _name(principal: Any) -> str:  # noqa: ANN401 - a role, or what stands for an account or a service
    return str(principal.node.path) if Construct.is_construct(principal) else str(principal)
