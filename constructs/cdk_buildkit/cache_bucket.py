"""The S3 bucket in which the builders of one architecture share layers."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from buildkit_ops.cache_expiration import CacheExpiration
from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects


class CacheBucket(Construct):
    """A BuildKit layer cache for one architecture, divided into scopes that do not see each other.

    One bucket an architecture, because buildx sends one `--cache-to` to the builders of every architecture, and in
    one bucket the last export of a name would overwrite the other's manifest (docker/buildx#1044).

    The bucket takes TLS only, encrypts at rest, blocks public access, has its ACLs off and no versions, and
    removes uploads that were cut off. Each scope has one lifecycle rule for manifests and one for blobs, with ages
    that `CacheExpiration` has checked: no manifest outlives a blob that it names.

    Args:
        scopes: The scopes that the bucket holds.
        expiration: The ages at which S3 removes what no export refreshes. Default: `CacheExpiration()`.
        encryption_key: A KMS key for encryption at rest. Whoever is granted a scope is granted the key's use.
            Default: keys that S3 manages (SSE-S3).
        removal_policy: What becomes of the bucket when its stack is deleted. A bucket that is to be destroyed must
            be empty by then. Default: retained.
        bucket: An existing bucket. Its encryption, policy and lifecycle rules stay its owner's: none is added.
            Default: a new bucket.

    Raises:
        ValueError: No scope is given, one is given twice, or a setting of a new bucket is given beside an existing
            one.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        scopes: Sequence[CacheScope],
        expiration: CacheExpiration | None = None,
        encryption_key: kms.IKey | None = None,
        removal_policy: RemovalPolicy | None = None,
        bucket: s3.IBucket | None = None,
    ) -> None:
        super().__init__(scope, id)
        if not scopes or len(set(scopes)) < len(scopes):
            names = [each.name for each in scopes]
            raise ValueError(f"a cache bucket holds at least one scope, each named once; got {names}: list each once")
        if bucket and (expiration or removal_policy):
            raise ValueError(
                "an existing bucket keeps its owner's lifecycle rules and removal policy; got `bucket` together with "
                "`expiration` or `removal_policy`: leave those out, and set the rules where the bucket is made"
            )
        self.scopes = tuple(scopes)
        self._readers: dict[CacheScope, list[iam.IPrincipal]] = {each: [] for each in scopes}
        self.encryption_key = encryption_key
        self.bucket = bucket or self._create_bucket(expiration or CacheExpiration(), removal_policy)

    def grant_read(self, scope: CacheScope, grantee: iam.IGrantable) -> iam.Grant:
        """Let a builder import from a scope, and nothing more.

        Raises:
            ValueError: The bucket does not hold the scope.
        """
        grant = self._grant(scope, grantee, ["s3:GetObject"], ["kms:Decrypt"])
        self._readers[scope].append(grantee.grant_principal)
        return grant

    def grant_read_write(self, scope: CacheScope, grantee: iam.IGrantable) -> iam.Grant:
        """Let a builder import from a scope and export to it. It cannot delete: only the lifecycle rules do.

        Raises:
            ValueError: The bucket does not hold the scope.
        """
        grant = self._grant(
            scope,
            grantee,
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            ["kms:Decrypt", "kms:GenerateDataKey"],
        )
        self._readers[scope].append(grantee.grant_principal)
        return grant

    def readers(self, scope: CacheScope) -> tuple[iam.IPrincipal, ...]:
        """Who was granted to import from a scope so far, those that export to it too among them."""
        return tuple(self._readers[scope])

    def grant_read_manifests(self, scope: CacheScope, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal see which caches a scope has, and read no layer.

        Raises:
            ValueError: The bucket does not hold the scope.
        """
        return self._grant(scope, grantee, ["s3:GetObject"], ["kms:Decrypt"], prefix=scope.manifests_prefix)

    def _create_bucket(self, expiration: CacheExpiration, removal_policy: RemovalPolicy | None) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS if self.encryption_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self.encryption_key,
            bucket_key_enabled=True if self.encryption_key else None,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=removal_policy or RemovalPolicy.RETAIN,
            lifecycle_rules=_lifecycle_rules(self.scopes, expiration),
        )
        acknowledge(
            bucket,
            "S1",
            "It holds layers that builds make again, and every build reads hundreds: access logs would be a second "
            "bucket to pay for. CloudTrail's data events log the bucket where an account wants it.",
        )
        return bucket

    def _grant(
        self,
        scope: CacheScope,
        grantee: iam.IGrantable,
        object_actions: list[str],
        key_actions: list[str],
        *,
        prefix: str | None = None,
    ) -> iam.Grant:
        # The bucket's own grants would add deletion, tagging and listing of versions: see BuildKit's calls in the
        # S3 cache's source (HeadObject, GetObject, PutObject, multipart, CopyObject).
        if scope not in self.scopes:
            held = ", ".join(each.name for each in self.scopes)
            raise ValueError(f"the cache bucket holds the scopes {held}; got {scope.name!r}: add it to the bucket")
        objects = self.bucket.arn_for_objects(f"{prefix or scope.prefix}*")
        acknowledge_objects(grantee, objects, "A scope is a key prefix; the objects' names below it are BuildKit's.")
        grant = iam.Grant.add_to_principal(grantee=grantee, actions=object_actions, resource_arns=[objects]).combine(
            # Without a condition: where a caller may not list, S3 answers a missing key with 403 instead of 404,
            # and BuildKit then fails the export.
            iam.Grant.add_to_principal(
                grantee=grantee, actions=["s3:ListBucket"], resource_arns=[self.bucket.bucket_arn]
            )
        )
        return grant.combine(self.encryption_key.grant(grantee, *key_actions)) if self.encryption_key else grant


def _lifecycle_rules(scopes: Sequence[CacheScope], expiration: CacheExpiration) -> list[s3.LifecycleRule]:
    rules = [s3.LifecycleRule(id="cut-off-uploads", abort_incomplete_multipart_upload_after=Duration.days(1))]
    for scope in scopes:
        rules += [
            s3.LifecycleRule(
                id=f"{scope.name}-manifests",
                prefix=scope.manifests_prefix,
                expiration=Duration.days(expiration.manifest_days),
            ),
            s3.LifecycleRule(
                id=f"{scope.name}-blobs",
                prefix=scope.blobs_prefix,
                expiration=Duration.days(expiration.blob_days),
            ),
        ]
    return rules
