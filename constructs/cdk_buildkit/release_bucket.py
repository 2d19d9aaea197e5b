"""The bucket from which builders fetch BuildKit when they boot, and the function that fills it at deployment."""

from collections.abc import Sequence

from aws_cdk import CfnResource, CustomResource, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects
from cdk_buildkit.buildkit_release import BuildKitRelease
from cdk_buildkit.handler_function import HandlerFunction

_PREFIX = "buildkit/"
_TIMEOUT = Duration.minutes(15)  # Lambda allows no longer
_ANSWER_TIMEOUT = Duration.minutes(16)
_BUCKET_ATTRIBUTE = "Bucket"


class ReleaseBucket(Construct):
    """The archives of a BuildKit release in the account, so that a boot needs nothing from outside AWS.

    A function copies each archive once from its upstream, when the stack is deployed, and stores it only with the
    pinned SHA-256; with another one the deployment fails. Keys hold version and sum. So a release that is there already
    is not fetched again, from another URL neither, and one that takes its place leaves the former to the builders that
    still boot from it, and to a roll back.

    Nothing expires: S3 counts from the day of the copy, and would take away what builders boot from. The bucket takes
    TLS only, encrypts at rest, blocks public access and has its ACLs off. It goes with its stack, emptied by the
    function: what it holds is public, and can be had again.

    Args:
        release: The release. Default: `BuildKitRelease()`.
        architectures: Those whose archives are copied.

    Raises:
        ValueError: There is no architecture, or the release has no sum for one.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        release: BuildKitRelease | None = None,
        architectures: Sequence[Architecture] = tuple(Architecture),
    ) -> None:
        super().__init__(scope, id)
        self.release = release or BuildKitRelease()
        self.architectures = tuple(architectures)
        missing = [each.value for each in architectures if each not in self.release.sha256]
        if missing or not architectures:
            raise ValueError(
                "a release bucket holds the archive of at least one architecture, each with its sum; got "
                f"{[each.value for each in architectures]}, without a sum {missing}: add to the release's sha256"
            )
        self.bucket = self._create_bucket()
        self.copier = HandlerFunction(
            self,
            "Copier",
            handler="release",
            description="Copies BuildKit's release archives into the account",
            environment={"BUCKET": self.bucket.bucket_name, "PREFIX": _PREFIX},
            timeout=_TIMEOUT,
            memory_size=512,
        )
        self._grant_copy()
        self._copied = CustomResource(
            self,
            "Copied",
            service_token=self.copier.function.function_arn,
            properties={
                "Archives": [
                    {
                        "Url": self.release.archive_url(each),
                        "Sha256": self.release.sha256[each],
                        "Key": self._key(each),
                    }
                    for each in architectures
                ]
            },
        )
        resource = self._copied.node.default_child
        assert isinstance(resource, CfnResource)  # noqa: S101 - for the type checker
        # CDK writes its `service_timeout` as a string, of which CloudFormation's schema disapproves.
        resource.add_property_override("ServiceTimeout", _ANSWER_TIMEOUT.to_seconds())

    def archive_uri(self, architecture: Architecture) -> str:
        """Where builders find the architecture's archive, `s3://<bucket>/<key>`. What uses it waits for the copy.

        Raises:
            ValueError: The bucket does not hold that architecture's archive.
        """
        if architecture not in self.architectures:
            held = ", ".join(self.architectures)
            raise ValueError(
                f"the release bucket holds archives for {held}; got {architecture.value}: add it to its architectures"
            )
        # By an attribute that never changes: a stack that imports it could not be given another value later
        # (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-importvalue.html).
        return f"s3://{self._copied.get_att_string(_BUCKET_ATTRIBUTE)}/{self._key(architecture)}"

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a builder fetch the archives, and nothing more."""
        return self._grant(
            grantee, ["s3:GetObject"], "Every release: builders of the former one boot while another takes its place."
        )

    def _key(self, architecture: Architecture) -> str:
        release = self.release
        return f"{_PREFIX}{release.version}/linux-{architecture.oci_name}/{release.sha256[architecture]}.tar.gz"

    def _create_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            bucket,
            "S1",
            "It holds public files, which builders read when they boot and check against a pinned sum: access logs "
            "would be a second bucket to pay for. CloudTrail's data events log the bucket where an account wants it.",
        )
        return bucket

    def _grant_copy(self) -> None:
        # The bucket's own grants would add tagging, retention and the listing of versions.
        self._grant(
            self.copier,
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "The archives' keys hold versions and sums that are yet to come.",
        )
        # Where a caller may not list, S3 answers a missing key with 403 instead of 404.
        iam.Grant.add_to_principal(
            grantee=self.copier, actions=["s3:ListBucket"], resource_arns=[self.bucket.bucket_arn]
        )

    def _grant(self, grantee: iam.IGrantable, actions: list[str], reason: str) -> iam.Grant:
        objects = self.bucket.arn_for_objects(f"{_PREFIX}*")
        acknowledge_objects(grantee, objects, reason)
        return iam.Grant.add_to_principal(grantee=grantee, actions=actions, resource_arns=[objects])
