"""The cache bucket as a template: what it is, when its objects expire, and what its grants allow."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template

from cdk_buildkit import CacheBucket, CacheExpiration, CacheScope, expiration_margin_days

MAIN, PULL_REQUESTS = CacheScope("main"), CacheScope("pull-requests")
KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture(scope="module")
def make_stack(make_app: Callable[[], cdk.App]) -> Callable[[], cdk.Stack]:
    return lambda: cdk.Stack(make_app(), "cache")


@pytest.fixture(scope="module")
def template(make_stack: Callable[[], cdk.Stack]) -> Template:
    stack = make_stack()
    CacheBucket(stack, "Cache", scopes=[MAIN, PULL_REQUESTS])
    return Template.from_stack(stack)


@pytest.fixture(scope="module")
def granted(make_stack: Callable[[], cdk.Stack], readable: Callable[[Any], Any]) -> Callable[..., list[Any]]:
    """Grant a role the scope main of a bucket with these props, and return the statements of its policy."""

    def granted(grant: str, *, encryption_key: str | None = None, bucket: str | None = None) -> list[Any]:
        stack = make_stack()
        cache = CacheBucket(
            stack,
            "Cache",
            scopes=[MAIN, PULL_REQUESTS],
            encryption_key=kms.Key.from_key_arn(stack, "Key", encryption_key) if encryption_key else None,
            bucket=s3.Bucket.from_bucket_name(stack, "Given", bucket) if bucket else None,
        )
        role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        getattr(cache, grant)(MAIN, role)
        (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
        statements: list[Any] = readable(policy["Properties"]["PolicyDocument"]["Statement"])
        return statements

    return granted


def bucket_of(template: Template) -> Any:  # noqa: ANN401 - a part of a template
    (bucket,) = template.find_resources("AWS::S3::Bucket").values()
    return bucket


def test_a_new_bucket_is_encrypted_private_and_without_acls_or_versions(template: Template) -> None:
    properties = bucket_of(template)["Properties"]

    assert {name: value for name, value in properties.items() if name != "LifecycleConfiguration"} == {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    }


def test_a_new_bucket_denies_whoever_comes_without_tls_and_says_nothing_else(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    (policy,) = template.find_resources("AWS::S3::BucketPolicy").values()

    assert readable(policy["Properties"]["PolicyDocument"]["Statement"]) == [
        {
            "Action": "s3:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Resource": ["<CacheBucket.Arn>", "<CacheBucket.Arn>/*"],
        }
    ]


def test_a_new_bucket_outlives_its_stack(template: Template) -> None:
    assert bucket_of(template)["DeletionPolicy"] == "Retain"
    assert bucket_of(template)["UpdateReplacePolicy"] == "Retain"


def test_a_new_bucket_goes_with_its_stack_when_told_to(make_stack: Callable[[], cdk.Stack]) -> None:
    stack = make_stack()

    CacheBucket(stack, "Cache", scopes=[MAIN], removal_policy=cdk.RemovalPolicy.DESTROY)

    assert bucket_of(Template.from_stack(stack))["DeletionPolicy"] == "Delete"


def test_nothing_but_a_bucket_and_its_policy_is_made(template: Template) -> None:
    types = sorted(each["Type"] for each in template.to_json()["Resources"].values())

    assert types == ["AWS::S3::Bucket", "AWS::S3::BucketPolicy"]


def test_every_scope_has_one_rule_for_manifests_and_one_for_blobs(template: Template) -> None:
    rules = bucket_of(template)["Properties"]["LifecycleConfiguration"]["Rules"]

    ages = {(rule["Prefix"], rule["ExpirationInDays"], rule["Status"]) for rule in rules if "Prefix" in rule}
    assert ages == {
        ("main/manifests/", 21, "Enabled"),
        ("main/blobs/", 30, "Enabled"),
        ("pull-requests/manifests/", 21, "Enabled"),
        ("pull-requests/blobs/", 30, "Enabled"),
    }
    assert sum("Prefix" in rule for rule in rules) == 4


def test_uploads_that_were_cut_off_are_removed_everywhere(template: Template) -> None:
    rules = bucket_of(template)["Properties"]["LifecycleConfiguration"]["Rules"]

    assert [rule for rule in rules if "Prefix" not in rule] == [
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "Id": "cut-off-uploads",
            "Status": "Enabled",
        }
    ]


def test_the_ages_are_those_of_the_expiration(make_stack: Callable[[], cdk.Stack]) -> None:
    stack = make_stack()
    longest_build = timedelta(hours=30)
    blob_days = 5 + expiration_margin_days(longest_build)

    CacheBucket(
        stack,
        "Cache",
        scopes=[MAIN],
        expiration=CacheExpiration(blob_days=blob_days, manifest_days=5, longest_build=longest_build),
    )

    rules = bucket_of(Template.from_stack(stack))["Properties"]["LifecycleConfiguration"]["Rules"]
    ages = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
    assert ages == {"main/manifests/": 5, "main/blobs/": blob_days}


def test_a_given_key_encrypts_the_bucket_and_is_asked_once_for_many_objects(
    make_stack: Callable[[], cdk.Stack],
) -> None:
    stack = make_stack()

    CacheBucket(stack, "Cache", scopes=[MAIN], encryption_key=kms.Key.from_key_arn(stack, "Key", KEY_ARN))

    assert bucket_of(Template.from_stack(stack))["Properties"]["BucketEncryption"] == {
        "ServerSideEncryptionConfiguration": [
            {
                "BucketKeyEnabled": True,
                "ServerSideEncryptionByDefault": {"KMSMasterKeyID": KEY_ARN, "SSEAlgorithm": "aws:kms"},
            }
        ]
    }


LIST = {"Action": "s3:ListBucket", "Effect": "Allow", "Resource": "<CacheBucket.Arn>"}


def test_a_reader_may_get_the_scopes_objects_and_list_without_a_condition(granted: Callable[..., list[Any]]) -> None:
    assert granted("grant_read") == [
        {"Action": "s3:GetObject", "Effect": "Allow", "Resource": "<CacheBucket.Arn>/main/*"},
        LIST,
    ]


def test_a_writer_may_also_put_objects_and_abort_uploads_but_never_delete(granted: Callable[..., list[Any]]) -> None:
    assert granted("grant_read_write") == [
        {
            "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            "Effect": "Allow",
            "Resource": "<CacheBucket.Arn>/main/*",
        },
        LIST,
    ]


def test_a_reader_may_decrypt_with_the_key(granted: Callable[..., list[Any]]) -> None:
    assert granted("grant_read", encryption_key=KEY_ARN)[2:] == [
        {"Action": "kms:Decrypt", "Effect": "Allow", "Resource": KEY_ARN}
    ]


def test_a_writer_may_also_make_data_keys(granted: Callable[..., list[Any]]) -> None:
    assert granted("grant_read_write", encryption_key=KEY_ARN)[2:] == [
        {"Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Effect": "Allow", "Resource": KEY_ARN}
    ]


def test_a_given_bucket_is_granted_by_its_name(granted: Callable[..., list[Any]]) -> None:
    get, list_bucket = granted("grant_read", bucket="a-cache")

    assert get["Resource"] == "arn:<AWS::Partition>:s3:::a-cache/main/*"
    assert list_bucket["Resource"] == "arn:<AWS::Partition>:s3:::a-cache"


def test_a_given_buckets_key_is_granted_too(granted: Callable[..., list[Any]]) -> None:
    assert granted("grant_read", bucket="a-cache", encryption_key=KEY_ARN)[2]["Resource"] == KEY_ARN


def test_nothing_is_added_to_a_given_bucket(make_stack: Callable[[], cdk.Stack]) -> None:
    stack = make_stack()

    cache = CacheBucket(stack, "Cache", scopes=[MAIN], bucket=s3.Bucket.from_bucket_name(stack, "Given", "a-cache"))

    assert Template.from_stack(stack).to_json().get("Resources") is None
    assert cache.bucket.bucket_name == "a-cache"


def test_a_scope_that_the_bucket_does_not_hold_is_not_granted(make_stack: Callable[[], cdk.Stack]) -> None:
    stack = make_stack()
    cache = CacheBucket(stack, "Cache", scopes=[MAIN, PULL_REQUESTS])

    with pytest.raises(ValueError, match=r"holds the scopes main, pull-requests; got 'nightly': add it to the bucket"):
        cache.grant_read(CacheScope("nightly"), iam.ServicePrincipal("ec2.amazonaws.com"))


@pytest.mark.parametrize("scopes", [[], [MAIN, MAIN]], ids=["none", "one twice"])
def test_a_bucket_without_scopes_or_with_one_twice_is_refused(
    make_stack: Callable[[], cdk.Stack], scopes: list[CacheScope]
) -> None:
    with pytest.raises(ValueError, match=r"at least one scope, each named once; got \[.*\]: list each once"):
        CacheBucket(make_stack(), "Cache", scopes=scopes)


@pytest.mark.parametrize(
    "settings",
    [{"expiration": CacheExpiration()}, {"removal_policy": cdk.RemovalPolicy.DESTROY}],
    ids=["expiration", "removal policy"],
)
def test_settings_of_a_new_bucket_beside_a_given_one_are_refused(
    make_stack: Callable[[], cdk.Stack], settings: dict[str, Any]
) -> None:
    stack = make_stack()
    given = s3.Bucket.from_bucket_name(stack, "Given", "a-cache")

    with pytest.raises(ValueError, match=r"keeps its owner's lifecycle rules .*: leave those out"):
        CacheBucket(stack, "Cache", scopes=[MAIN], bucket=given, **settings)


def test_a_bucket_knows_who_reads_a_scope(make_stack: Callable[[], cdk.Stack]) -> None:
    stack = make_stack()
    cache = CacheBucket(stack, "Cache", scopes=[MAIN, PULL_REQUESTS])
    writer, reader = (
        iam.Role(stack, name, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")) for name in ("Writer", "Reader")
    )

    cache.grant_read_write(MAIN, writer)
    cache.grant_read(MAIN, reader)

    assert cache.readers(MAIN) == (writer, reader)
    assert cache.readers(PULL_REQUESTS) == ()
