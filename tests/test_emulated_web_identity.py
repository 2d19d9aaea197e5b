"""Roles that are assumed by a token, in the emulated account: the provider, its audience and the role's trust count."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "repo:org/app:ref:refs/heads/main"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account that enforces IAM."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log") as emulator:
        yield emulator


@pytest.fixture(scope="module")
def assume(emulator: Emulator) -> Callable[..., str]:
    """Assume a role that trusts one subject, and return who one is then, or the code of the refusal."""
    iam = Aws(emulator.endpoint_url).client("iam")
    provider = iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=[AUDIENCE])
    condition = {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": [SUBJECT]}}
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
        "Condition": condition,
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="github", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    url = emulator.endpoint_url

    def assume(token: str) -> str:
        sts: Any = boto3.client("sts", region_name=REGION, endpoint_url=url, config=Config(signature_version=UNSIGNED))
        try:
            keys = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="job", WebIdentityToken=token)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        credentials = keys["Credentials"]
        session = boto3.Session(
            credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], region_name=REGION
        )
        return str(session.client("sts", endpoint_url=url).get_caller_identity()["Arn"])

    return assume


def token(**claims: object) -> str:
    values = {"iss": f"https://{ISSUER}", "aud": AUDIENCE, "sub": SUBJECT, "exp": time.time() + 300, **claims}
    payload = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2lnbmF0dXJl"


def test_the_subject_that_is_trusted_assumes_the_role(assume: Callable[..., str]) -> None:
    assert assume(token()) == "arn:aws:sts::123456789012:assumed-role/github/job"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": "repo:org/app-evil:ref:refs/heads/main"}, "AccessDenied"),
        ({"sub": "repo:org/app:pull_request"}, "AccessDenied"),
        ({"aud": "https://github.com/org"}, "InvalidIdentityToken"),
        ({"iss": "https://evil.example.com"}, "InvalidIdentityToken"),
        ({"exp": 1}, "ExpiredTokenException"),
    ],
    ids=["repository", "pull request", "audience", "issuer", "expired"],
)
def test_any_other_token_is_refused(assume: Callable[..., str], claims: dict[str, object], code: str) -> None:
    assert assume(token(**claims)) == code


def test_what_is_no_token_is_refused(assume: Callable[..., str]) -> None:
    assert assume("no token") == "InvalidIdentityToken"
