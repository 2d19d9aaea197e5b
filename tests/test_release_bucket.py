"""ReleaseBucket: who may do what with the archives, what a deployment waits for, and what becomes of them."""

from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from cdk_buildkit import Architecture, BuildKitRelease, ReleaseBucket

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
SHA256 = {ARM64: "a" * 64, X86_64: "b" * 64}
RELEASE = BuildKitRelease(version="v1.2.3", url="https://example.com/{version}/{architecture}.tgz", sha256=SHA256)


@pytest.fixture
def stack(make_app: Callable[[], cdk.App]) -> cdk.Stack:
    return cdk.Stack(make_app(), "releases")


@pytest.fixture(scope="module")
def template(make_app: Callable[[], cdk.App]) -> Template:
    """A release bucket, and a role that may read from it."""
    stack = cdk.Stack(make_app(), "releases")
    releases = ReleaseBucket(stack, "Releases", release=RELEASE)
    releases.grant_read(iam.Role(stack, "Builder", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    return Template.from_stack(stack)


def only(template: Template, kind: str) -> Any:  # noqa: ANN401 - a resource of a template
    (resource,) = template.find_resources(kind).values()
    return resource


def statements(template: Template, role: str) -> list[Any]:
    """Return what a role may do, as its one policy says."""
    policies = template.find_resources("AWS::IAM::Policy").values()
    (policy,) = (each for each in policies if each["Properties"]["Roles"][0]["Ref"].startswith(role))
    return list(policy["Properties"]["PolicyDocument"]["Statement"])


def test_a_reader_may_get_archives_and_nothing_else(template: Template, readable: Callable[[Any], Any]) -> None:
    assert readable(statements(template, "Builder")) == [
        {"Action": "s3:GetObject", "Effect": "Allow", "Resource": "<ReleasesBucket.Arn>/buildkit/*"}
    ]


def test_the_copier_may_use_its_prefix_and_its_log_and_nothing_else(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    assert readable(statements(template, "ReleasesCopier")) == [
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Effect": "Allow",
            "Resource": "<ReleasesCopierLog.Arn>",
        },
        {
            "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            "Effect": "Allow",
            "Resource": "<ReleasesBucket.Arn>/buildkit/*",
        },
        {"Action": "s3:ListBucket", "Effect": "Allow", "Resource": "<ReleasesBucket.Arn>"},
    ]
    roles = template.find_resources("AWS::IAM::Role").values()
    assert all("ManagedPolicyArns" not in role["Properties"] for role in roles)


def test_the_bucket_is_private_encrypted_and_takes_tls_only(template: Template, readable: Callable[[Any], Any]) -> None:
    bucket, policy = only(template, "AWS::S3::Bucket"), only(template, "AWS::S3::BucketPolicy")

    assert bucket["Properties"] == {
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
    assert readable(policy["Properties"]["PolicyDocument"]["Statement"]) == [
        {
            "Action": "s3:*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Resource": ["<ReleasesBucket.Arn>", "<ReleasesBucket.Arn>/*"],
        }
    ]


def test_the_bucket_goes_with_its_stack_and_nothing_in_it_expires_before(template: Template) -> None:
    bucket = only(template, "AWS::S3::Bucket")

    assert bucket["DeletionPolicy"] == "Delete"
    assert "LifecycleConfiguration" not in bucket["Properties"]


def test_a_bucket_is_emptied_before_it_is_deleted(template: Template) -> None:
    """CloudFormation deletes what refers to something before that."""
    function, copied = only(template, "AWS::Lambda::Function"), only(template, "AWS::CloudFormation::CustomResource")

    bucket, *_ = template.find_resources("AWS::S3::Bucket")
    name, *_ = template.find_resources("AWS::Lambda::Function")
    policy = {each for each in function["DependsOn"] if each in template.find_resources("AWS::IAM::Policy")}
    assert function["Properties"]["Environment"]["Variables"]["BUCKET"] == {"Ref": bucket}
    assert copied["Properties"]["ServiceToken"] == {"Fn::GetAtt": [name, "Arn"]}
    assert policy  # without which the function could not


def test_every_archive_is_copied_to_a_key_with_its_version_and_sum(template: Template) -> None:
    copied = only(template, "AWS::CloudFormation::CustomResource")["Properties"]

    assert copied["Archives"] == [
        {
            "Url": f"https://example.com/v1.2.3/{name}.tgz",
            "Sha256": SHA256[architecture],
            "Key": f"buildkit/v1.2.3/linux-{name}/{SHA256[architecture]}.tar.gz",
        }
        for architecture, name in ((ARM64, "arm64"), (X86_64, "amd64"))
    ]


def test_cloudformation_waits_longer_than_the_function_lives(template: Template) -> None:
    function, copied = only(template, "AWS::Lambda::Function"), only(template, "AWS::CloudFormation::CustomResource")

    assert function["Properties"]["Timeout"] == 900
    assert copied["Properties"]["ServiceTimeout"] == 960


def test_only_the_architectures_in_use_are_copied(stack: cdk.Stack) -> None:
    ReleaseBucket(stack, "Releases", architectures=[X86_64])

    copied = only(Template.from_stack(stack), "AWS::CloudFormation::CustomResource")["Properties"]
    assert [each["Url"].rpartition(".linux-")[2] for each in copied["Archives"]] == ["amd64.tar.gz"]


def test_what_uses_an_archive_waits_for_the_copy(stack: cdk.Stack) -> None:
    releases = ReleaseBucket(stack, "Releases", release=RELEASE)

    uri = stack.resolve(releases.archive_uri(X86_64))

    (copied,) = Template.from_stack(stack).find_resources("AWS::CloudFormation::CustomResource")
    key = f"buildkit/v1.2.3/linux-amd64/{SHA256[X86_64]}.tar.gz"
    assert uri == {"Fn::Join": ["", ["s3://", {"Fn::GetAtt": [copied, "Bucket"]}, f"/{key}"]]}


def test_another_release_changes_no_value_that_another_stack_imports(make_app: Callable[[], cdk.App]) -> None:
    """CloudFormation lets nobody change an exported value while it is imported."""
    outputs: list[Mapping[str, Any]] = []
    for release in (RELEASE, BuildKitRelease()):
        app = make_app()
        releases = ReleaseBucket(cdk.Stack(app, "releases"), "Releases", release=release)
        builders = cdk.Stack(app, "builders")
        role = iam.Role(builders, "Builder", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        releases.grant_read(role)
        for architecture in Architecture:
            cdk.CfnOutput(builders, architecture.construct_id, value=releases.archive_uri(architecture))
        outputs.append(app.synth().get_stack_by_name("releases").template["Outputs"])

    assert outputs[0] == outputs[1]
    assert sorted(attribute for each in outputs[0].values() for attribute in each["Value"]["Fn::GetAtt"][1:]) == [
        "Arn",
        "Bucket",
    ]


def test_every_finding_of_cdk_nag_is_answered(stack: cdk.Stack) -> None:
    app = stack.node.root
    assert isinstance(app, cdk.App)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    releases = ReleaseBucket(stack, "Releases")

    releases.grant_read(iam.Role(stack, "Builder", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))

    app.synth()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architectures": []}, r"at least one architecture, each with its sum; got \[\], without a sum \[\]"),
        (
            {"release": BuildKitRelease(sha256={ARM64: "a" * 64})},
            r"got \['arm64', 'x86_64'\], without a sum \['x86_64'\]: add to the release's sha256",
        ),
    ],
)
def test_refuses(stack: cdk.Stack, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReleaseBucket(stack, "Releases", **settings)


def test_an_architecture_that_is_not_copied_has_no_archive(stack: cdk.Stack) -> None:
    releases = ReleaseBucket(stack, "Releases", architectures=[ARM64])

    with pytest.raises(ValueError, match="holds archives for arm64; got x86_64: add it to its architectures"):
        releases.archive_uri(X86_64)
