"""Tokens by which a role is assumed without a key: their claims, against the account's providers and the role's trust.

A token's signature is not checked: there is nobody here who could have signed it. AWS asks its issuer for the keys.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from moto.core.utils import utcnow
from moto.iam.models import iam_backends

from local.emulator.aws import ACCOUNT
from local.emulator.errors import Refusal
from local.emulator.policy import Decision, decide
from local.emulator.principals import trust_policy

ACTION = "AssumeRoleWithWebIdentity"


def check_token(parameters: Mapping[str, Any]) -> None:
    """Require a token with which its bearer may assume the role that a request names.

    Raises:
        Refusal: It is no token or has expired, the account has no provider for its issuer and its audience, or the role
            does not trust who it is for.
    """
    claims = _claims(str(parameters.get("WebIdentityToken", "")))
    issuer = str(claims["iss"]).removeprefix("https://")
    providers = [each for each in iam_backends[ACCOUNT]["aws"].open_id_providers.values() if each.url == issuer]
    if not providers:
        raise _invalid("No OpenIDConnect provider found in your account for " + str(claims["iss"]))
    if claims["aud"] not in providers[0].client_id_list:
        raise _invalid("Incorrect token audience")
    if claims["exp"] < utcnow().timestamp():
        raise Refusal("ExpiredTokenException", "Token expired", HTTPStatus.BAD_REQUEST)
    role = str(parameters.get("RoleArn", ""))
    context = {f"{issuer}:{name}": str(claims[name]) for name in ("aud", "sub")}
    trusted = decide(
        trust_policy(role), f"sts:{ACTION}", role, context, [f"Federated:{provider.arn}" for provider in providers]
    )
    if trusted is not Decision.ALLOW:
        raise Refusal("AccessDenied", f"Not authorized to perform sts:{ACTION}")


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return {"iss": claims["iss"], "aud": claims["aud"], "sub": claims["sub"], "exp": claims["exp"]}
    except (IndexError, KeyError, ValueError):
        raise _invalid("The ID Token provided is not a valid JWT.") from None


def _invalid(words: str) -> Refusal:
    return Refusal("InvalidIdentityToken", words, HTTPStatus.BAD_REQUEST)
