"""IAM roles, their policies, instance profiles and OpenID Connect providers."""

import json

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only


def _create_role(declaration: Declaration) -> Provisioned:
    iam, properties = declaration.aws.client("iam"), declaration.properties
    name = properties.get("RoleName", declaration.name(64))
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(properties["AssumeRolePolicyDocument"]),
        **only(properties, "Description", "Path", "MaxSessionDuration", "PermissionsBoundary", "Tags"),
    )["Role"]
    for arn in properties.get("ManagedPolicyArns", []):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in properties.get("Policies", []):
        iam.put_role_policy(
            RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"])
        )
    return Provisioned(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _delete_role(declaration: Declaration, physical_id: str) -> None:
    iam = declaration.aws.client("iam")
    for arn in declaration.properties.get("ManagedPolicyArns", []):
        iam.detach_role_policy(RoleName=physical_id, PolicyArn=arn)
    for policy in declaration.properties.get("Policies", []):
        iam.delete_role_policy(RoleName=physical_id, PolicyName=policy["PolicyName"])
    iam.delete_role(RoleName=physical_id)


def _create_policy(declaration: Declaration) -> Provisioned:
    iam, properties = declaration.aws.client("iam"), declaration.properties
    document = json.dumps(properties["PolicyDocument"])
    for role in properties["Roles"]:
        iam.put_role_policy(RoleName=role, PolicyName=properties["PolicyName"], PolicyDocument=document)
    return Provisioned(properties["PolicyName"])


def _update_policy(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    if declaration.properties["PolicyName"] != former.properties["PolicyName"]:
        raise UnchangeableError("changing the name of a policy is not emulated")
    iam = declaration.aws.client("iam")
    for role in set(former.properties["Roles"]) - set(declaration.properties["Roles"]):
        iam.delete_role_policy(RoleName=role, PolicyName=physical_id)
    return _create_policy(declaration)


def _delete_policy(declaration: Declaration, _: str) -> None:
    for role in declaration.properties["Roles"]:
        declaration.aws.client("iam").delete_role_policy(RoleName=role, PolicyName=declaration.properties["PolicyName"])


def _create_instance_profile(declaration: Declaration) -> Provisioned:
    iam, properties = declaration.aws.client("iam"), declaration.properties
    name = properties.get("InstanceProfileName", declaration.name(128))
    profile = iam.create_instance_profile(InstanceProfileName=name, **only(properties, "Path"))["InstanceProfile"]
    for role in properties["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return Provisioned(name, {"Arn": profile["Arn"]})


def _delete_instance_profile(declaration: Declaration, physical_id: str) -> None:
    iam = declaration.aws.client("iam")
    for role in declaration.properties["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=physical_id, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=physical_id)


def _create_oidc_provider(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    arn = declaration.aws.client("iam").create_open_id_connect_provider(
        Url=properties["Url"],
        ClientIDList=properties.get("ClientIdList", []),
        **only(properties, "ThumbprintList", "Tags"),
    )["OpenIDConnectProviderArn"]
    return Provisioned(arn, {"Arn": arn})


def _delete_oidc_provider(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=physical_id)


TYPES = {
    "AWS::IAM::Role": ResourceType(_create_role, _delete_role),
    "AWS::IAM::Policy": ResourceType(_create_policy, _delete_policy, _update_policy),
    "AWS::IAM::InstanceProfile": ResourceType(_create_instance_profile, _delete_instance_profile),
    "AWS::IAM::OIDCProvider": ResourceType(_create_oidc_provider, _delete_oidc_provider),
}
