"""Repositories of ECR that exist, by their URIs."""

import re

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_ecr as ecr

_URI = re.compile(r"(?P<account>\d+)\.dkr\.ecr\.(?P<region>[^.]+)\.[^/]+/(?P<name>.+)")


def repository_of(stack: Stack, uri: str) -> ecr.IRepository:
    """Return the repository with a URI that the configuration has checked."""
    match = _URI.fullmatch(uri)
    assert match  # noqa: S101 - the configuration has been checked
    arn = stack.format_arn(
        service="ecr",
        account=match["account"],
        region=match["region"],
        resource="repository",
        resource_name=match["name"],
        arn_format=ArnFormat.SLASH_RESOURCE_NAME,
    )
    return ecr.Repository.from_repository_attributes(
        stack, f"Repository-{uri.replace('/', '-')}", repository_arn=arn, repository_name=match["name"]
    )
