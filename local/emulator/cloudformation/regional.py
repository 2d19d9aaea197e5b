"""Log groups, parameters and image repositories."""

import json

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, UnchangeableError, only


def _create_log_group(declaration: Declaration) -> Provisioned:
    logs, properties = declaration.aws.client("logs"), declaration.properties
    name = properties.get("LogGroupName", declaration.name(512))
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    logs.create_log_group(logGroupName=name, **({"tags": tags} if tags else {}))
    if "RetentionInDays" in properties:
        logs.put_retention_policy(logGroupName=name, retentionInDays=properties["RetentionInDays"])
    (group,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return Provisioned(name, {"Arn": group["arn"]})


def _delete_log_group(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("logs").delete_log_group(logGroupName=physical_id)


def _create_parameter(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    name = properties.get("Name", declaration.name(128))
    declaration.aws.client("ssm").put_parameter(Name=name, **only(properties, "Type", "Value"))
    return Provisioned(name, only(properties, "Type", "Value"))


def _update_parameter(declaration: Declaration, former: Declaration, physical_id: str) -> Provisioned:
    properties = declaration.properties
    if any(properties.get(name) != former.properties.get(name) for name in ("Name", "Type")):
        raise UnchangeableError("changing the name or the type of a parameter is not emulated")
    declaration.aws.client("ssm").put_parameter(Name=physical_id, Overwrite=True, **only(properties, "Type", "Value"))
    return Provisioned(physical_id, only(properties, "Type", "Value"))


def _delete_parameter(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ssm").delete_parameter(Name=physical_id)


def _create_repository(declaration: Declaration) -> Provisioned:
    ecr, properties = declaration.aws.client("ecr"), declaration.properties
    name = properties.get("RepositoryName", declaration.name(128).lower())
    repository = ecr.create_repository(
        repositoryName=name, imageTagMutability=properties.get("ImageTagMutability", "MUTABLE")
    )["repository"]
    if "LifecyclePolicy" in properties:
        ecr.put_lifecycle_policy(
            repositoryName=name, lifecyclePolicyText=properties["LifecyclePolicy"]["LifecyclePolicyText"]
        )
    if "RepositoryPolicyText" in properties:
        ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(properties["RepositoryPolicyText"]))
    return Provisioned(name, {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]})


def _delete_repository(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ecr").delete_repository(repositoryName=physical_id, force=True)


TYPES = {
    "AWS::Logs::LogGroup": ResourceType(_create_log_group, _delete_log_group),
    "AWS::SSM::Parameter": ResourceType(_create_parameter, _delete_parameter, _update_parameter),
    "AWS::ECR::Repository": ResourceType(_create_repository, _delete_repository),
}
