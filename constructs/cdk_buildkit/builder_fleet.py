"""A fleet of builders, whatever it runs on: who may build on it, and with whom they share their trust."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet

BuilderFleet = Ec2BuilderFleet | EksBuilderFleet


def grant_build(builders: BuilderFleet, role: iam.Role, *, repositories: Sequence[ecr.IRepository]) -> None:
    """Let jobs with a role connect to a fleet, wake it, and push to repositories; nothing of the cache."""
    builders.grant_connect(role)
    builders.grant_wake(role)
    for repository in repositories:
        repository.grant_pull_push(role)
    if repositories:
        acknowledge(role, "IAM5[Resource::*]", "A login to ECR, ecr:GetAuthorizationToken, is for no one repository.")


def other_readers(builders: BuilderFleet) -> list[str]:
    """Return the paths of the principals beside the fleet's own that were granted to read its scope so far."""
    readers = {_name(each) for cache in builders.caches.values() for each in cache.readers(builders.write)}
    return sorted(readers - {_name(builders.role)})


def _name(principal: Any) -> str:  # noqa: ANN401 - a role, or what stands for an account or a service
    return str(principal.node.path) if Construct.is_construct(principal) else str(principal)
