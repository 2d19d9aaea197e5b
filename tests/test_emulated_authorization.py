"""IAM in the emulated account beyond buckets: the policies of secrets, and conditions on a resource's tags."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator

ROOT = "arn:aws:iam::123456789012:root"
ROLE = "arn:aws:iam::123456789012:role/instance"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account that enforces IAM, with an instance profile whose role has no policy yet."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log") as emulator:
        iam = Aws(emulator.endpoint_url).client("iam")
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName="instance", AssumeRolePolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName="instance")
        iam.add_role_to_instance_profile(InstanceProfileName="instance", RoleName="instance")
        yield emulator


@pytest.fixture(scope="module")
def operator(emulator: Emulator) -> Callable[[str], Any]:
    """Return the operator's clients."""
    return Aws(emulator.endpoint_url).client


@pytest.fixture
def instance(emulator: Emulator) -> Callable[[str], Any]:
    """Return clients with the role of the instance profile."""
    credentials = emulator.instance_credentials("instance")

    def client(service: str) -> Any:  # noqa: ANN401 - boto3 makes it at run time
        return boto3.client(  # type: ignore[call-overload]
            service,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["Token"],
            region_name=REGION,
            endpoint_url=emulator.endpoint_url,
        )

    return client


def document(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def reading(client: Any, secret: str) -> str:  # noqa: ANN401 - likewise
    """Read a secret, and return how that ended."""
    try:
        client.get_secret_value(SecretId=secret)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "read"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            {"Effect": "Deny", "Principal": "*", "Condition": {"ArnNotEquals": {"aws:PrincipalArn": ROLE}}},
            {"operator": "AccessDenied", "instance": "AccessDenied"},
        ),
        (
            {"Effect": "Deny", "Principal": "*", "Condition": {"ArnNotEquals": {"aws:PrincipalArn": ROOT}}},
            {"operator": "read", "instance": "AccessDenied"},
        ),
        ({"Effect": "Deny", "Principal": {"AWS": ROLE}}, {"operator": "read", "instance": "AccessDenied"}),
        ({"Effect": "Allow", "Principal": {"AWS": ROLE}}, {"operator": "read", "instance": "read"}),
        ({"Effect": "Allow", "Principal": {"AWS": f"{ROLE}s"}}, {"operator": "read", "instance": "AccessDenied"}),
    ],
)
def test_a_secrets_policy_counts_for_everybody(
    operator: Callable[[str], Any],
    instance: Callable[[str], Any],
    statement: dict[str, Any],
    expected: dict[str, str],
) -> None:
    secrets = operator("secretsmanager")
    secret = secrets.create_secret(Name="x", SecretString="x")["ARN"]
    policy = document(Action="secretsmanager:GetSecretValue", Resource="*", **statement)
    secrets.put_resource_policy(SecretId=secret, ResourcePolicy=policy)

    found = {
        "operator": reading(secrets, secret),
        "instance": reading(instance("secretsmanager"), secret),
    }

    secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    assert found == expected


def test_a_secrets_policy_that_cannot_be_evaluated_fails_loudly(operator: Callable[[str], Any]) -> None:
    secrets = operator("secretsmanager")
    secret = secrets.create_secret(Name="unknown", SecretString="x")["ARN"]
    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    policy = document(
        Effect="Deny", Principal="*", Action="secretsmanager:GetSecretValue", Resource="*", Condition=condition
    )
    secrets.put_resource_policy(SecretId=secret, ResourcePolicy=policy)

    assert reading(secrets, secret) == "NotImplemented"


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"aws:ResourceTag/fleet": "main"}}, True),
        ({"StringEquals": {"aws:ResourceTag/fleet": "other"}}, False),
        ({"StringEquals": {"aws:ResourceTag/untagged": "main"}}, False),
        ({"Null": {"aws:ResourceTag/untagged": "true"}}, True),
    ],
)
def test_a_groups_tags_decide_who_may_change_it(
    operator: Callable[[str], Any], instance: Callable[[str], Any], condition: dict[str, Any], *, allowed: bool
) -> None:
    autoscaling = operator("autoscaling")
    template = operator("ec2").create_launch_template(
        LaunchTemplateName="t", LaunchTemplateData={"ImageId": "ami-12345678"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="g",
        LaunchTemplate={"LaunchTemplateId": template},
        MinSize=0,
        MaxSize=1,
        AvailabilityZones=[f"{REGION}a"],
        Tags=[{"Key": "fleet", "Value": "main", "PropagateAtLaunch": False}],
    )
    policy = document(Effect="Allow", Action="autoscaling:SetDesiredCapacity", Resource="*", Condition=condition)
    operator("iam").put_role_policy(RoleName="instance", PolicyName="own", PolicyDocument=policy)

    try:
        instance("autoscaling").set_desired_capacity(AutoScalingGroupName="g", DesiredCapacity=0)
    except ClientError as error:
        found = error.response["Error"]["Code"]
    else:
        found = "allowed"

    autoscaling.delete_auto_scaling_group(AutoScalingGroupName="g", ForceDelete=True)
    operator("ec2").delete_launch_template(LaunchTemplateId=template)
    assert found == ("allowed" if allowed else "AccessDenied")


def test_an_action_that_is_not_known_is_not_guessed(instance: Callable[[str], Any]) -> None:
    with pytest.raises(ClientError, match="the IAM action of GET /2013-04-01/hostedzone"):
        instance("route53").list_hosted_zones()
