"""Reads IAM roles, their policies, instance profiles and OpenID Connect providers back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _role(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    iam = account.client("iam")
    role = iam.get_role(RoleName=physical_id)["Role"]
    attached = iam.list_attached_role_policies(RoleName=physical_id)["AttachedPolicies"]
    inline = iam.list_role_policies(RoleName=physical_id)["PolicyNames"]
    own = [name for name in inline if name not in account.physical_ids]  # the others are an AWS::IAM::Policy's
    return Found(
        {
            "ManagedPolicyArns": [policy["PolicyArn"] for policy in attached],
            "PermissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "Policies": [
                pick(iam.get_role_policy(RoleName=physical_id, PolicyName=name), "PolicyName", "PolicyDocument")
                for name in own
            ],
            **pick(role, "AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName", "Tags"),
        },
        pick(role, "Arn", "RoleId"),
    )


def _policy(account: Account, _: str, declared: Mapping[str, Any]) -> Found:
    iam = account.client("iam")
    name = declared["PolicyName"]
    holders = [role for role in declared["Roles"] if name in iam.list_role_policies(RoleName=role)["PolicyNames"]]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for role in holders]
    same = documents[0] if documents and all(each == documents[0] for each in documents) else None
    return Found({"PolicyName": name if holders else None, "Roles": holders, "PolicyDocument": same})


def _instance_profile(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    profile = account.client("iam").get_instance_profile(InstanceProfileName=physical_id)["InstanceProfile"]
    roles = [role["RoleName"] for role in profile["Roles"]]
    return Found({"Roles": roles, **pick(profile, "InstanceProfileName", "Path")}, pick(profile, "Arn"))


def _oidc_provider(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    provider = account.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=physical_id)
    properties = {"ClientIdList": provider["ClientIDList"], "Url": f"https://{provider['Url']}"}
    return Found({**properties, **pick(provider, "ThumbprintList", "Tags")}, {"Arn": physical_id})


READERS = {
    "AWS::IAM::Role": Reader(
        _role,
        unordered=frozenset({"ManagedPolicyArns", "Policies"}),
        closed=frozenset({"ManagedPolicyArns", "PermissionsBoundary", "Policies"}),
    ),
    "AWS::IAM::Policy": Reader(_policy, frozenset({"Roles"})),
    "AWS::IAM::InstanceProfile": Reader(_instance_profile),
    "AWS::IAM::OIDCProvider": Reader(_oidc_provider, frozenset({"ClientIdList", "ThumbprintList"})),
}
