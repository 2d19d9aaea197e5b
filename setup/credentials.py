"""Gives the AWS client the role's keys for GitHub's token, each time that it asks: neither is ever written anywhere.

A token of GitHub is good for minutes, and a fleet may take longer to wake, so none is kept. The client runs this as its
credential process: https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

AUDIENCE = "sts.amazonaws.com"
ATTEMPTS = 3


def main() -> None:
    """Print the keys for the client, or say why there are none."""
    role = os.environ["CDK_BUILDKIT_ROLE_TO_ASSUME"]
    try:
        keys = assume(role, fetch_token())
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"GitHub gave no token: {error}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"the role {role} was not assumed: {error}; see that its trust names this repository and what ran")
    print(json.dumps({"Version": 1, **keys}))


def fetch_token() -> str:
    """Ask GitHub for a token that says what this job is.

    https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
    """
    request = urllib.request.Request(  # noqa: S310 - the runner's own URL
        f"{os.environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={AUDIENCE}",
        headers={"Authorization": f"bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"},
    )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
                return str(json.load(answer)["value"])
        except urllib.error.HTTPError as error:
            if attempt == ATTEMPTS or error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
        time.sleep(attempt)
    raise AssertionError


def assume(role: str, token: str) -> dict[str, str]:
    """Return the keys of a session in the role, as a credential process prints them."""
    run, attempt = (os.environ.get(f"GITHUB_RUN_{each}", "0") for each in ("ID", "ATTEMPT"))
    region = os.environ.get("CDK_BUILDKIT_REGION") or os.environ.get("AWS_REGION") or None
    client = boto3.client("sts", region_name=region, config=Config(signature_version=UNSIGNED))
    session = client.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName=f"github-{run}-{attempt}", WebIdentityToken=token
    )["Credentials"]
    return {
        "AccessKeyId": session["AccessKeyId"],
        "SecretAccessKey": session["SecretAccessKey"],
        "SessionToken": session["SessionToken"],
        "Expiration": session["Expiration"].isoformat(),
    }


main()
