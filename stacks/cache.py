"""The cache: a bucket for each architecture, with the scopes of every fleet."""

from collections.abc import Sequence
from datetime import timedelta

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_buildkit import Architecture, CacheBucket, CacheExpiration, CacheScope
from stacks.config import CacheConfig


class CacheStack(Stack):
    """Gives the fleets `buckets`, one for each architecture."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: CacheConfig,
        architectures: Sequence[Architecture],
        scopes: Sequence[CacheScope],
        longest_build: timedelta,
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self._config = config
        self._expiration = CacheExpiration(
            blob_days=config.blob_expiration_days,
            manifest_days=config.manifest_expiration_days,
            longest_build=longest_build,
        )
        self._key = kms.Key.from_key_arn(self, "Key", config.kms_key_arn) if config.kms_key_arn else None
        self.buckets = {architecture: self._bucket(architecture, scopes) for architecture in architectures}

    def _bucket(self, architecture: Architecture, scopes: Sequence[CacheScope]) -> CacheBucket:
        name = self._config.bucket_names.get(architecture)
        construct_id = f"{architecture.construct_id}Cache"
        if name:
            given = s3.Bucket.from_bucket_name(self, f"{construct_id}Given", name)
            bucket = CacheBucket(self, construct_id, scopes=scopes, encryption_key=self._key, bucket=given)
        else:
            bucket = CacheBucket(
                self,
                construct_id,
                scopes=scopes,
                expiration=self._expiration,
                encryption_key=self._key,
                removal_policy=RemovalPolicy.RETAIN if self._config.retain else RemovalPolicy.DESTROY,
            )
        CfnOutput(self, f"{construct_id}BucketName", value=bucket.bucket.bucket_name)
        return bucket
