"""Who a request's access key belongs to, and which policies that principal carries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from moto.core.utils import utcnow
from moto.iam.models import Role, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from local.emulator import clusters
from local.emulator.aws import ACCOUNT, OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY, REGION
from local.emulator.errors import Refusal
from local.emulator.policy import Decision, decide

Policies = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Principal:
    """The owner of an access key.

    Args:
        arn: The account's root for the operator, else the assumed role's.
        secret: What it signs with.
        session_token: What goes with a temporary key. None: the key is not temporary.
        role_arn: The role that was assumed. None: this is the operator, who may do everything.
        policies: The role's own policies.
        boundary: The role's permissions boundary. None: it has none.
    """

    arn: str
    secret: str
    session_token: str | None = None
    role_arn: str | None = None
    policies: Policies | None = None
    boundary: Policies | None = None

    @property
    def names(self) -> list[str]:
        """The names by which the policy of a resource may mean it."""
        return ["*", f"AWS:{ACCOUNT}", f"AWS:{self.arn}", *([f"AWS:{self.role_arn}"] if self.role_arn else [])]


_FUNCTION_KEYS: set[str] = set()

OPERATOR = Principal(arn=f"arn:aws:iam::{ACCOUNT}:root", secret=OPERATOR_SECRET_KEY)


def principal_of(access_key: str | None, session_token: str | None) -> Principal:
    """Return the owner of an access key.

    Raises:
        Refusal: There is no such key, or its session has ended, or the token is another session's.
    """
    if access_key is None:
        raise Refusal("AccessDenied", "Access Denied: the request is not signed")
    if access_key == OPERATOR_ACCESS_KEY:
        return OPERATOR
    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(access_key)
    if session is None:
        raise Refusal("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    if session.expiration < utcnow():
        raise Refusal("ExpiredToken", "The provided token has expired.", HTTPStatus.BAD_REQUEST)
    if session_token != session.session_token:
        raise Refusal("InvalidToken", "The provided token is malformed or otherwise invalid.", HTTPStatus.BAD_REQUEST)
    role = iam_backends[ACCOUNT]["aws"].get_role_by_arn(session.role_arn)
    return Principal(
        arn=session.arn,
        secret=session.secret_access_key,
        session_token=session.session_token,
        role_arn=role.arn,
        policies=_policies(role),
        boundary=[_managed_policy(role.permissions_boundary_arn)] if role.permissions_boundary_arn else None,
    )


def instance_credentials(instance_profile: str) -> dict[str, str]:
    """Return new credentials for an instance, as EC2 obtains them for the instance metadata service to hand out.

    Args:
        instance_profile: The profile's name.

    Raises:
        LookupError: There is no such profile, or its role does not trust EC2.
    """
    for profile in iam_backends[ACCOUNT]["aws"].get_instance_profiles():
        if profile.name == instance_profile:
            (role,) = profile.roles
            break
    else:
        raise LookupError(f"there is no instance profile {instance_profile}")
    return _service_credentials(role, "ec2.amazonaws.com", "i-0e0000000000e0000")  # EC2 takes the instance's id


def pod_credentials(namespace: str, service_account: str) -> dict[str, str]:
    """Return new credentials for a pod, as EKS obtains them for Pod Identity's agent to hand out.

    Raises:
        LookupError: Its service account is associated with no role, or the role does not trust EKS.
    """
    for record in clusters.records.values():
        given = record.properties
        wanted = record.type_name == clusters.ASSOCIATION
        if wanted and (given["Namespace"], given["ServiceAccount"]) == (namespace, service_account):
            break
    else:
        raise LookupError(f"the service account {namespace}/{service_account} is associated with no role")
    roles = [each for each in iam_backends[ACCOUNT]["aws"].get_roles() if each.arn == given["RoleArn"]]
    if not roles:
        raise LookupError(f"there is no role {given['RoleArn']}")
    # https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html
    tags = {
        "eks-cluster-arn": clusters.cluster_arn(given["ClusterName"]),
        "eks-cluster-name": given["ClusterName"],
        "kubernetes-namespace": namespace,
        "kubernetes-service-account": service_account,
    }
    return _service_credentials(roles[0], "pods.eks.amazonaws.com", f"eks-{service_account}", tags)


def function_credentials(role_arn: str, function_name: str) -> dict[str, str]:
    """Return new credentials for an invocation of a function, for which IAM counts always.

    Raises:
        LookupError: There is no such role, or it does not trust Lambda.
    """
    for role in iam_backends[ACCOUNT]["aws"].get_roles():
        if role.arn == role_arn:
            credentials = _service_credentials(role, "lambda.amazonaws.com", function_name)
            _FUNCTION_KEYS.add(credentials["AccessKeyId"])
            return credentials
    raise LookupError(f"there is no role {role_arn}")


def is_of_function(access_key: str | None) -> bool:
    """Tell whether an access key was made for an invocation of a function."""
    return access_key in _FUNCTION_KEYS


def _service_credentials(
    role: Role, service: str, session_name: str, tags: Mapping[str, str] | None = None
) -> dict[str, str]:
    trust = [_document(role.assume_role_policy_document)]
    context = {
        "aws:requesttag/": None,
        "aws:sourceaccount": ACCOUNT,
        **{f"aws:requesttag/{name}": value for name, value in (tags or {}).items()},
    }
    for action in ("sts:AssumeRole", *(["sts:TagSession"] if tags else [])):
        if decide(trust, action, role.arn, context, [f"Service:{service}"]) is not Decision.ALLOW:
            raise LookupError(f"the role {role.name} does not trust {service} with {action}")
    session: AssumedRole = sts_backends[ACCOUNT]["aws"].assume_role(
        region_name=REGION,
        role_session_name=session_name,
        role_arn=role.arn,
        policy="",
        duration=6 * 3600,
        external_id="",
    )
    return {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": f"{utcnow():%Y-%m-%dT%H:%M:%SZ}",
        "Expiration": f"{session.expiration:%Y-%m-%dT%H:%M:%SZ}",
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "RoleName": role.name,
    }


def trust_policy(role_arn: str) -> Policies:
    """Return who may assume a role; nobody where there is no such role."""
    roles = [role for role in iam_backends[ACCOUNT]["aws"].get_roles() if role.arn == role_arn]
    return [_document(role.assume_role_policy_document) for role in roles]


def _policies(role: Role) -> Policies:
    return [
        *(_document(document) for document in role.policies.values()),
        *(_managed_policy(arn) for arn in role.managed_policies),
    ]


def _managed_policy(arn: str) -> Mapping[str, Any]:
    policy = iam_backends[ACCOUNT]["aws"].get_policy(arn)
    return _document(next(version.document for version in policy.versions if version.is_default))


def _document(text: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(text)
    return document
