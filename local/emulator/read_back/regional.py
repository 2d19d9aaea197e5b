"""Reads log groups, parameters and image repositories back."""

import json
from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _log_group(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    logs = account.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=physical_id)["logGroups"]
    group = next(each for each in groups if each["logGroupName"] == physical_id)
    tags = logs.list_tags_log_group(logGroupName=physical_id)["tags"]
    return Found(
        {
            "LogGroupName": physical_id,
            "RetentionInDays": group.get("retentionInDays"),
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        },
        {"Arn": group["arn"]},
    )


def _parameter(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    parameter = account.client("ssm").get_parameter(Name=physical_id)["Parameter"]
    return Found(pick(parameter, "Name", "Type", "Value"), pick(parameter, "Type", "Value"))


def _repository(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    ecr = account.client("ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=[physical_id])["repositories"]
    return Found(
        {
            "RepositoryName": physical_id,
            "ImageTagMutability": repository["imageTagMutability"],
            "LifecyclePolicy": {
                "LifecyclePolicyText": ecr.get_lifecycle_policy(repositoryName=physical_id)["lifecyclePolicyText"]
            },
            "RepositoryPolicyText": json.loads(ecr.get_repository_policy(repositoryName=physical_id)["policyText"]),
        },
        {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]},
    )


READERS = {
    "AWS::Logs::LogGroup": Reader(_log_group),
    "AWS::SSM::Parameter": Reader(_parameter),
    "AWS::ECR::Repository": Reader(_repository),
}
