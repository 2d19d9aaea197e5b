"""The emulated account: what moto loses, IAM with its conditions, the log, and the comparison with templates."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator, EmulatorError
from local.emulator.read_back import Difference, ReadBack, ReadBackError, read_back
from local.emulator.request_log import Denial, Failure, S3Request

Template = dict[str, Any]

BUCKET = {
    "Type": "AWS::S3::Bucket",
    "Properties": {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        "LifecycleConfiguration": {
            "Rules": [
                {"Id": "blobs", "Status": "Enabled", "Prefix": "main/blobs/", "ExpirationInDays": 30},
                {"Id": "uploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
            ]
        },
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
        "Tags": [{"Key": "kind", "Value": "cache"}],
    },
}
BUCKET_POLICY = {
    "Type": "AWS::S3::BucketPolicy",
    "Properties": {
        "Bucket": {"Ref": "Bucket"},
        "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": {"AWS": "*"},
                    "Action": "s3:*",
                    "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        },
    },
}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
            ],
        },
        "ManagedPolicyArns": [{"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"}],
    },
}
LISTING = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": {"Fn::GetAtt": ["Bucket", "Arn"]}}
CACHING = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/main/*"]]},
}
NETWORK = {
    "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": True}},
    "Subnet": {
        "Type": "AWS::EC2::Subnet",
        "Properties": {
            "VpcId": {"Ref": "Vpc"},
            "CidrBlock": "10.0.0.0/24",
            "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        },
    },
    "SecurityGroup": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": "Builders",
            "VpcId": {"Ref": "Vpc"},
            "SecurityGroupEgress": [{"CidrIp": "10.0.0.0/16", "IpProtocol": "-1", "Description": "Inside"}],
        },
    },
    "LoadBalancer": {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {
            "Type": "network",
            "Scheme": "internal",
            "Subnets": [{"Ref": "Subnet"}],
            "LoadBalancerAttributes": [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}],
        },
    },
    "Targets": {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Properties": {
            "Port": 1234,
            "Protocol": "TCP",
            "VpcId": {"Ref": "Vpc"},
            "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "3600"}],
        },
    },
    "Listener": {
        "Type": "AWS::ElasticLoadBalancingV2::Listener",
        "Properties": {
            "LoadBalancerArn": {"Ref": "LoadBalancer"},
            "Port": 1234,
            "Protocol": "TCP",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
            "ListenerAttributes": [{"Key": "tcp.idle_timeout.seconds", "Value": "6000"}],
        },
    },
}


def role_policy(role: str, *statements: Template) -> Template:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    properties = {"PolicyName": "own", "Roles": [{"Ref": role}], "PolicyDocument": document}
    return {"Type": "AWS::IAM::Policy", "Properties": properties}


def instance_profile(role: str) -> Template:
    return {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": role}]}}


EXAMPLE: Template = {
    "Conditions": {"Never": {"Fn::Equals": [{"Ref": "AWS::Region"}, "nowhere"]}},
    "Resources": {
        "Bucket": BUCKET,
        "BucketPolicy": BUCKET_POLICY,
        "Builder": ROLE,
        "BuilderPolicy": role_policy("Builder", CACHING, LISTING),
        "BuilderProfile": instance_profile("Builder"),
        "Blind": ROLE,
        "BlindPolicy": role_policy("Blind", CACHING),
        "BlindProfile": instance_profile("Blind"),
        "Skipped": {"Type": "AWS::SNS::Topic", "Condition": "Never"},
        **NETWORK,
    },
    "Outputs": {
        "BucketArn": {
            "Value": {"Fn::GetAtt": ["Bucket", "Arn"]},
            "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-bucket"}},
        }
    },
}
TOOLKIT: Template = {
    "Resources": {
        "Version": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/version", "Type": "String", "Value": "30"}}
    }
}


class Account:
    """An emulated account, the operator's clients for it, and an example stack with the physical ids in it."""

    _stacks = count()

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.client = Aws(emulator.endpoint_url).client
        self.ids: dict[str, str] = {}
        self.stack = self.deploy(EXAMPLE)

    def deploy(self, template: Template, stack: str | None = None) -> str:
        """Deploy as `cdk deploy` does, and return the stack's name."""
        name = stack or f"example-{next(self._stacks)}"
        cloudformation = self.client("cloudformation")
        change_set = cloudformation.create_change_set(
            StackName=name, ChangeSetName="create", ChangeSetType="CREATE", TemplateBody=json.dumps(template)
        )["Id"]
        cloudformation.execute_change_set(ChangeSetName=change_set)
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        self.ids |= {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}
        return name

    def failures(self, stack: str) -> list[str]:
        """Return why a stack's resources failed; nothing for a stack that was created."""
        cloudformation = self.client("cloudformation")
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        reasons = [each["ResourceStatusReason"] for each in events if each["ResourceStatus"] == "CREATE_FAILED"]
        (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        assert described["StackStatus"] == ("CREATE_FAILED" if reasons else "CREATE_COMPLETE")
        return reasons

    def credentials_of(self, profile: str) -> dict[str, str]:
        """Return new credentials of one of the example's instance profiles."""
        return self.emulator.instance_credentials(self.ids[profile])

    def as_instance(self, profile: str, service: str = "s3") -> Any:  # noqa: ANN401 - boto3 makes it at run time
        """Return a service's client with the credentials of one of the example's instance profiles."""
        return self.with_credentials(self.credentials_of(profile), service)

    def with_credentials(self, credentials: dict[str, str], service: str = "s3") -> Any:  # noqa: ANN401 - likewise
        """Return a service's client with credentials in the words of the instance metadata service."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials.get("Token"),
            region_name=REGION,
            endpoint_url=self.emulator.endpoint_url,
            config=Config(
                signature_version="s3v4" if service == "s3" else "v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                proxies={},
            ),
        )


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account that enforces IAM, with a bootstrap stack."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log") as emulator:
        Account(emulator).deploy(TOOLKIT, "CDKToolkit")
        yield emulator


@pytest.fixture
def account(emulator: Emulator) -> Account:
    """Return the account with a new example stack."""
    return Account(emulator)


@pytest.fixture(scope="module")
def shared(emulator: Emulator) -> Account:
    """Return the account with an example stack for tests that leave its resources as they are."""
    return Account(emulator)


@pytest.fixture(scope="module")
def conditioned(emulator: Emulator) -> Account:
    """Return the account with an example stack for tests that replace its bucket's policy."""
    return Account(emulator)


def compared(account: Account, directory: Path, template: Template = EXAMPLE) -> ReadBack:
    """Read the account back as if the template of its example had come out of `cdk synth`."""
    (directory / "example.template.json").write_text(json.dumps(template))
    artifact = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "example.template.json"}}
    (directory / "manifest.json").write_text(json.dumps({"artifacts": {account.stack: artifact}}))
    return read_back(account.emulator.endpoint_url, directory)


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    """Return the HTTP status and the code of a service's refusal."""
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def test_a_deployed_stack_reads_back_as_declared(shared: Account, tmp_path: Path) -> None:
    result = compared(shared, tmp_path)

    assert result.differences == []
    assert result.unchecked == {}
    assert sum(result.compared.values()) == len(EXAMPLE["Resources"]) - 1 + len(TOOLKIT["Resources"])


def test_lifecycle_rules_policies_and_the_tcp_listener_exist(shared: Account) -> None:
    bucket = shared.ids["Bucket"]
    s3 = shared.client("s3")

    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    managed = shared.client("iam").list_attached_role_policies(RoleName=shared.ids["Builder"])["AttachedPolicies"]
    (listener,) = shared.client("elbv2").describe_listeners(LoadBalancerArn=shared.ids["LoadBalancer"])["Listeners"]

    assert {rule["ID"]: rule["Filter"] for rule in rules} == {
        "blobs": {"Prefix": "main/blobs/"},
        "uploads": {"Prefix": ""},
    }
    assert policy["Statement"][0]["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    assert [each["PolicyName"] for each in managed] == ["AmazonSSMManagedInstanceCore"]
    assert (listener["Protocol"], listener["Port"]) == ("TCP", 1234)


def test_an_unknown_type_fails_the_stack_and_is_named(account: Account) -> None:
    stack = account.deploy({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})

    assert "Queue (AWS::SQS::Queue): AWS::SQS::Queue is not emulated" in account.failures(stack)


def test_a_property_that_is_not_emulated_fails_the_stack_and_is_named(account: Account) -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"ObjectLockEnabled": True}}

    stack = account.deploy({"Resources": {"B": bucket}})

    assert "B (AWS::S3::Bucket): AWS::S3::Bucket is emulated without ObjectLockEnabled" in account.failures(stack)


def test_a_service_that_refuses_fails_the_stack_with_its_words(account: Account) -> None:
    table = {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": "vpc-none"}}

    stack = account.deploy({"Resources": {"Table": table}})

    assert any("Table (AWS::EC2::RouteTable)" in each and "vpc-none" in each for each in account.failures(stack))


def test_another_stack_imports_what_one_exports(account: Account) -> None:
    value = {"Fn::ImportValue": f"{account.stack}-bucket"}
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}}

    account.deploy({"Resources": {"Parameter": parameter}})

    found = account.client("ssm").get_parameter(Name=account.ids["Parameter"])["Parameter"]["Value"]
    assert found == f"arn:aws:s3:::{account.ids['Bucket']}"


def test_deleting_a_stack_deletes_all_but_what_is_retained(account: Account) -> None:
    kept = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"}
    stack = account.deploy({"Resources": {"Kept": kept, "Gone": {"Type": "AWS::S3::Bucket"}, **NETWORK}})

    account.client("cloudformation").delete_stack(StackName=stack)
    account.client("cloudformation").list_stacks()

    buckets = {each["Name"] for each in account.client("s3").list_buckets()["Buckets"]}
    networks = {each["VpcId"] for each in account.client("ec2").describe_vpcs()["Vpcs"]}
    assert account.ids["Kept"] in buckets
    assert account.ids["Gone"] not in buckets
    assert account.ids["Vpc"] not in networks


def test_read_back_notices_a_changed_lifecycle_rule(account: Account, tmp_path: Path) -> None:
    rules = [{"ID": "blobs", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]
    account.client("s3").put_bucket_lifecycle_configuration(
        Bucket=account.ids["Bucket"], LifecycleConfiguration={"Rules": rules}
    )

    differences = compared(account, tmp_path).differences

    assert (
        Difference(account.stack, "Bucket", "LifecycleConfiguration.Rules[0].Prefix", "main/blobs/", None)
        in differences
    )


def test_read_back_notices_every_other_change_behind_its_back(account: Account, tmp_path: Path) -> None:
    s3, iam, elb, ec2 = map(account.client, ("s3", "iam", "elbv2", "ec2"))
    wider = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
    anywhere = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "0"}
    s3.delete_bucket_policy(Bucket=account.ids["Bucket"])
    s3.delete_public_access_block(Bucket=account.ids["Bucket"])
    iam.put_role_policy(RoleName=account.ids["Builder"], PolicyName="own", PolicyDocument=json.dumps(wider))
    iam.put_role_policy(RoleName=account.ids["Blind"], PolicyName="added", PolicyDocument=json.dumps(wider))
    iam.attach_role_policy(RoleName=account.ids["Blind"], PolicyArn=administrator)
    elb.modify_target_group_attributes(TargetGroupArn=account.ids["Targets"], Attributes=[delay])
    elb.modify_listener(ListenerArn=account.ids["Listener"], Port=4321)
    ec2.authorize_security_group_egress(GroupId=account.ids["SecurityGroup"], IpPermissions=[anywhere])
    ec2.modify_vpc_attribute(VpcId=account.ids["Vpc"], EnableDnsHostnames={"Value": False})

    differences = compared(account, tmp_path).differences

    assert {(each.logical_id, each.path) for each in differences} == {
        ("BucketPolicy", "PolicyDocument"),
        ("Bucket", "PublicAccessBlockConfiguration"),
        ("BuilderPolicy", "PolicyDocument"),
        ("Blind", "ManagedPolicyArns[0]"),
        ("Blind", "Policies"),
        ("Targets", "TargetGroupAttributes.deregistration_delay.timeout_seconds"),
        ("Listener", "Port"),
        ("SecurityGroup", "SecurityGroupEgress[0]"),
        ("Vpc", "EnableDnsHostnames"),
    }


def test_read_back_lists_a_property_that_it_does_not_look_at(shared: Account, tmp_path: Path) -> None:
    properties = BUCKET["Properties"] | {"ObjectLockEnabled": True}  # type: ignore[operator]
    template = {**EXAMPLE, "Resources": EXAMPLE["Resources"] | {"Bucket": BUCKET | {"Properties": properties}}}

    result = compared(shared, tmp_path, template)

    assert result.unchecked == {"AWS::S3::Bucket": {"ObjectLockEnabled"}}
    assert not result.is_clean


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ({"Type": "AWS::SQS::Queue"}, "/Added: AWS::SQS::Queue has no reader"),
        ({"Type": "AWS::S3::Bucket"}, r"/Added \(AWS::S3::Bucket\) is not in its stack"),
        (role_policy("Nobody"), "there is no Nobody to refer to"),
        (
            {"Type": "AWS::SSM::Parameter", "Properties": {"Value": {"Fn::Cidr": ["10.0.0.0/16", 1]}}},
            "/Added .* is not in its stack|the function Fn::Cidr is not resolved here",
        ),
    ],
)
def test_read_back_refuses_what_it_cannot_compare(shared: Account, tmp_path: Path, added: Template, words: str) -> None:
    template = {**EXAMPLE, "Resources": EXAMPLE["Resources"] | {"Added": added}}

    with pytest.raises(ReadBackError, match=words):
        compared(shared, tmp_path, template)


def test_an_instance_may_do_what_its_role_may(shared: Account) -> None:
    s3, bucket = shared.as_instance("BuilderProfile"), shared.ids["Bucket"]

    s3.put_object(Bucket=bucket, Key="main/a file", Body=b"content")
    s3.copy_object(
        Bucket=bucket,
        Key="main/a file",
        CopySource={"Bucket": bucket, "Key": "main/a file"},
        MetadataDirective="REPLACE",
    )

    assert s3.get_object(Bucket=bucket, Key="main/a file")["Body"].read() == b"content"


@pytest.mark.parametrize(
    ("operation", "arguments", "action"),
    [
        ("delete_object", {"Key": "main/x"}, "s3:DeleteObject"),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "main/x"}]}}, "s3:DeleteObject"),
        ("put_object", {"Key": "other/x", "Body": b"x" * 3_000_000}, "s3:PutObject"),
        ("get_object", {"Key": "other/x"}, "s3:GetObject"),
        ("create_multipart_upload", {"Key": "other/x"}, "s3:PutObject"),
        ("put_object_tagging", {"Key": "main/x", "Tagging": {"TagSet": []}}, "s3:PutObjectTagging"),
        ("put_bucket_policy", {"Policy": "{}"}, "s3:PutBucketPolicy"),
    ],
)
def test_an_action_or_a_key_that_no_policy_allows_is_denied_and_logged(
    shared: Account, operation: str, arguments: dict[str, Any], action: str
) -> None:
    credentials, position = shared.credentials_of("BuilderProfile"), shared.emulator.log.position
    bucket = shared.ids["Bucket"]

    with pytest.raises(ClientError) as error:
        getattr(shared.with_credentials(credentials), operation)(Bucket=bucket, **arguments)

    (denial,) = (each for each in shared.emulator.log.since(position) if isinstance(each, Denial))
    assert refusal(error) == (403, "AccessDenied")
    assert (denial.service, denial.action, denial.access_key) == ("s3", action, credentials["AccessKeyId"])
    assert denial.resource.startswith(f"arn:aws:s3:::{bucket}")
    assert f"assumed-role/{shared.ids['Builder']}/" in str(denial.principal)


def test_copying_needs_the_right_to_read_the_source(shared: Account) -> None:
    bucket = shared.ids["Bucket"]
    shared.client("s3").put_object(Bucket=bucket, Key="other/secret", Body=b"")

    with pytest.raises(ClientError) as error:
        shared.as_instance("BuilderProfile").copy_object(
            Bucket=bucket, Key="main/stolen", CopySource={"Bucket": bucket, "Key": "other/secret"}
        )

    assert refusal(error) == (403, "AccessDenied")


@pytest.mark.parametrize(("profile", "expected"), [("BuilderProfile", 404), ("BlindProfile", 403)])
def test_a_missing_key_is_404_only_to_who_may_list(shared: Account, profile: str, expected: int) -> None:
    s3, bucket = shared.as_instance(profile), shared.ids["Bucket"]

    with pytest.raises(ClientError) as read:
        s3.get_object(Bucket=bucket, Key="main/none")
    with pytest.raises(ClientError) as asked:
        s3.head_object(Bucket=bucket, Key="main/none")

    assert refusal(read)[0] == refusal(asked)[0] == expected


def test_other_services_are_denied_in_their_own_protocols(shared: Account) -> None:
    calls = {
        "ec2": ("describe_instances", {}, (403, "UnauthorizedOperation")),
        "iam": ("list_roles", {}, (403, "AccessDenied")),
        "secretsmanager": ("get_secret_value", {"SecretId": "x"}, (400, "AccessDenied")),
    }

    for service, (operation, arguments, expected) in calls.items():
        with pytest.raises(ClientError) as error:
            getattr(shared.as_instance("BuilderProfile", service), operation)(**arguments)
        assert refusal(error) == expected


def test_an_unknown_key_a_wrong_secret_and_a_foreign_token_are_refused(shared: Account) -> None:
    one, other = shared.credentials_of("BuilderProfile"), shared.credentials_of("BuilderProfile")
    tried = {
        "InvalidAccessKeyId": {"AccessKeyId": "AKIADECOY", "SecretAccessKey": "decoy"},
        "SignatureDoesNotMatch": one | {"SecretAccessKey": other["SecretAccessKey"]},
        "InvalidToken": one | {"Token": other["Token"]},
    }

    for code, credentials in tried.items():
        with pytest.raises(ClientError) as error:
            shared.with_credentials(credentials).list_objects_v2(Bucket=shared.ids["Bucket"])
        assert refusal(error)[1] == code


def test_nobody_can_assume_an_instance_role_but_ec2(shared: Account) -> None:
    arn = shared.client("iam").get_role(RoleName=shared.ids["Builder"])["Role"]["Arn"]

    with pytest.raises(ClientError) as error:
        shared.as_instance("BlindProfile", "sts").assume_role(RoleArn=arn, RoleSessionName="somebody")

    assert refusal(error) == (403, "AccessDenied")


def test_a_role_that_does_not_trust_ec2_gives_no_instance_credentials(account: Account) -> None:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": [statement]}}}
    account.deploy({"Resources": {"Function": role, "FunctionProfile": instance_profile("Function")}})

    with pytest.raises(EmulatorError, match="does not trust ec2"):
        account.credentials_of("FunctionProfile")
    with pytest.raises(EmulatorError, match="there is no instance profile nobody"):
        account.emulator.instance_credentials("nobody")


def bucket_policy(account: Account, condition: Template) -> None:
    """Deny everything in the example's bucket, on a condition."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", "Condition": condition}
    account.client("s3").put_bucket_policy(
        Bucket=account.ids["Bucket"], Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )


@pytest.mark.parametrize(
    ("condition", "denies"),
    [
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"Bool": {"aws:SecureTransport": True}}, True),
        ({"StringEquals": {"aws:ResourceAccount": "123456789012"}}, True),
        ({"StringNotEquals": {"aws:ResourceAccount": ["123456789012", "1"]}}, False),
        ({"StringLike": {"aws:RequestedRegion": "us-*"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/example-*"}}, True),
        ({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/example-*"}}, False),
        ({"Null": {"aws:SourceArn": "true"}, "Bool": {"aws:SecureTransport": "true"}}, True),
        ({"Null": {"aws:SourceArn": "true"}, "Bool": {"aws:SecureTransport": "false"}}, False),
    ],
)
def test_conditions_decide_whether_a_bucket_denies(conditioned: Account, condition: Template, *, denies: bool) -> None:
    s3, bucket = conditioned.as_instance("BuilderProfile"), conditioned.ids["Bucket"]
    s3.put_object(Bucket=bucket, Key="main/x", Body=b"")
    bucket_policy(conditioned, condition)

    if denies:
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="main/x")
        assert refusal(error) == (403, "AccessDenied")
    else:
        assert s3.get_object(Bucket=bucket, Key="main/x")["Body"].read() == b""


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01"}}, "operator DateGreaterThan is not evaluated"),
        ({"StringEquals": {"aws:UserAgent": "x"}}, "key aws:UserAgent is not known"),
        ({"StringLike": {"aws:PrincipalArn": "${aws:PrincipalTag/x}"}}, "policy variable"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_fails_loudly(
    conditioned: Account, condition: Template, words: str
) -> None:
    bucket_policy(conditioned, condition)
    position = conditioned.emulator.log.position

    with pytest.raises(ClientError) as error:
        conditioned.as_instance("BuilderProfile").get_object(Bucket=conditioned.ids["Bucket"], Key="main/x")

    (failure,) = (each for each in conditioned.emulator.log.since(position) if isinstance(each, Failure))
    assert refusal(error)[0] == 501
    assert words in failure.message


def test_a_permissions_boundary_narrows_a_role(account: Account) -> None:
    iam, bucket = account.client("iam"), account.ids["Bucket"]
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    boundary = iam.create_policy(PolicyName=account.stack, PolicyDocument=document)["Policy"]["Arn"]
    s3 = account.as_instance("BuilderProfile")
    s3.put_object(Bucket=bucket, Key="main/x", Body=b"")

    iam.put_role_permissions_boundary(RoleName=account.ids["Builder"], PermissionsBoundary=boundary)

    s3.get_object(Bucket=bucket, Key="main/x")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="main/x", Body=b"")
    assert refusal(error) == (403, "AccessDenied")


def test_policies_count_only_while_enforcement_is_on(account: Account) -> None:
    s3, bucket = account.as_instance("BuilderProfile"), account.ids["Bucket"]

    account.emulator.enforce_iam(enforce=False)
    s3.put_object(Bucket=bucket, Key="other/x", Body=b"")
    account.emulator.enforce_iam()

    with pytest.raises(ClientError):
        s3.put_object(Bucket=bucket, Key="other/x", Body=b"")


def test_the_log_says_whose_key_moved_how_many_bytes(shared: Account) -> None:
    credentials, bucket = shared.credentials_of("BuilderProfile"), shared.ids["Bucket"]
    s3, position = shared.with_credentials(credentials), shared.emulator.log.position

    s3.put_object(Bucket=bucket, Key="main/log", Body=b"x" * 1000)
    s3.get_object(Bucket=bucket, Key="main/log")["Body"].read()

    put, got = (each for each in shared.emulator.log.since(position) if isinstance(each, S3Request))
    assert (put.method, put.bucket, put.key, put.bytes_in, put.status) == ("PUT", bucket, "main/log", 1000, 200)
    assert (got.method, got.bytes_in, got.bytes_out, got.status) == ("GET", 0, 1000, 200)
    assert put.access_key == got.access_key == credentials["AccessKeyId"]
    assert f"assumed-role/{shared.ids['Builder']}/" in str(put.principal)
    assert put.time <= got.time


def test_the_log_names_a_decoy_key_and_that_it_is_nobodys(shared: Account) -> None:
    position = shared.emulator.log.position
    decoy = shared.with_credentials({"AccessKeyId": "AKIADECOY", "SecretAccessKey": "decoy"})

    with pytest.raises(ClientError):
        decoy.get_object(Bucket=shared.ids["Bucket"], Key="main/x")

    (request,) = (each for each in shared.emulator.log.since(position) if isinstance(each, S3Request))
    assert (request.access_key, request.principal, request.status) == ("AKIADECOY", None, 403)


def test_a_presigned_request_is_known_by_its_key(shared: Account) -> None:
    credentials, bucket = shared.credentials_of("BuilderProfile"), shared.ids["Bucket"]
    s3 = shared.with_credentials(credentials)
    url = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})
    path = url.removeprefix(shared.emulator.endpoint_url)
    position = shared.emulator.log.position

    with socket.create_connection(("127.0.0.1", shared.emulator.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost:{shared.emulator.port}\r\n\r\n".encode())
        answer = connection.recv(1000)

    (request,) = (each for each in shared.emulator.log.since(position) if isinstance(each, S3Request))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert request.access_key == credentials["AccessKeyId"]


def test_objects_can_be_made_older(shared: Account) -> None:
    s3, bucket = shared.client("s3"), shared.ids["Bucket"]
    for key in ("age/old", "age/older", "new"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    two_days_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)

    changed = shared.emulator.set_last_modified(bucket, "age/", two_days_ago)

    assert changed == ["age/old", "age/older"]
    assert s3.head_object(Bucket=bucket, Key="age/old")["LastModified"] == two_days_ago
    assert s3.head_object(Bucket=bucket, Key="new")["LastModified"] > two_days_ago + timedelta(days=1)
    with pytest.raises(EmulatorError, match="there is no bucket nowhere"):
        shared.emulator.set_last_modified("nowhere", "", two_days_ago)


def test_the_account_ends_with_its_block(tmp_path: Path) -> None:
    with Emulator(tmp_path / "log") as emulator:
        socket.create_connection(("127.0.0.1", emulator.port)).close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", emulator.port))


def test_an_emulator_that_cannot_start_says_why(emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="in use"):
        Emulator(tmp_path / "log", port=emulator.port)
