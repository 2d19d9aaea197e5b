"""What tells clients, who may not look into the cache, which of its names a build should import."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.acknowledgements import acknowledge_objects
from cdk_buildkit.cache_bucket import CacheBucket
from cdk_buildkit.handler_function import HandlerFunction


class CacheNames(Construct):
    """A Lambda function that chooses, of a branch's cache and the ones to fall back on, the one that is there.

    It is called with `{"names": ["app/feature", "app/main"], "architectures": ["arm64"]}`, the best name first, and
    answers `{"choice": {"scope": "main", "name": "app/main", "architectures": ["arm64"]}}`: the first that is there for
    every architecture, else the first of those for most, else `{"choice": null}`. Its role may read the manifests of
    the fleet's own scopes, and no layer.

    Args:
        caches: The cache bucket of each architecture.
        write: The scope that the fleet exports to; it is looked into first.
        read: Further scopes that the fleet may import from. Default: none.

    Raises:
        ValueError: A scope is not in the buckets.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        caches: Mapping[Architecture, CacheBucket],
        write: CacheScope,
        read: Sequence[CacheScope] = (),
    ) -> None:
        super().__init__(scope, id)
        scopes = list(dict.fromkeys((write, *read)))
        buckets = {architecture.value: cache.bucket.bucket_name for architecture, cache in caches.items()}
        self._handler = HandlerFunction(
            self,
            "Function",
            handler="cache_names",
            description="Says which cache a build on BuildKit builders should import",
            environment={
                "BUCKETS": Stack.of(self).to_json_string(buckets),
                "SCOPES": Stack.of(self).to_json_string([each.name for each in scopes]),
            },
            timeout=Duration.seconds(20),
        )
        self.function = self._handler.function
        for cache in caches.values():
            for each in scopes:
                cache.grant_read_manifests(each, self._handler)

    def grant_ask(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal call the function."""
        versions = f"{self.function.function_arn}:*"
        acknowledge_objects(grantee, versions, "The wildcard is the function's own versions and aliases.")
        return self.function.grant_invoke(grantee)
