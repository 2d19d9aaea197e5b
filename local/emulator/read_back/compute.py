"""Reads launch templates and Auto Scaling groups back."""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _launch_template(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    ec2 = account.client("ec2")
    (template,) = ec2.describe_launch_templates(LaunchTemplateIds=[physical_id])["LaunchTemplates"]
    latest = str(template["LatestVersionNumber"])
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateId=physical_id, Versions=[latest])[
        "LaunchTemplateVersions"
    ]
    # The template's own description leaves out tags that were added later.
    tags = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [physical_id]}])["Tags"]
    return Found(
        {
            "LaunchTemplateName": template["LaunchTemplateName"],
            "LaunchTemplateData": version["LaunchTemplateData"],
            "TagSpecifications": [
                {"ResourceType": "launch-template", "Tags": [pick(tag, "Key", "Value") for tag in tags]}
            ],
        },
        {
            "LaunchTemplateId": physical_id,
            "LatestVersionNumber": latest,
            "DefaultVersionNumber": str(template["DefaultVersionNumber"]),
        },
    )


def _group(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    (group,) = account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[physical_id])[
        "AutoScalingGroups"
    ]
    names = (
        "AutoScalingGroupName",
        "CapacityRebalance",
        "DefaultInstanceWarmup",
        "DesiredCapacity",
        "HealthCheckGracePeriod",
        "HealthCheckType",
        "InstanceMaintenancePolicy",
        "LaunchTemplate",
        "MaxInstanceLifetime",
        "MaxSize",
        "MinSize",
        "MixedInstancesPolicy",
        "NewInstancesProtectedFromScaleIn",
        "TargetGroupARNs",
        "TerminationPolicies",
    )
    tags = [pick(tag, "Key", "Value", "PropagateAtLaunch") for tag in group.get("Tags", [])]
    policy = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification", {})
    if "LaunchTemplateId" in policy:
        policy.pop("LaunchTemplateName", None)  # the service gives both, a template declares one
    hooks = account.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName=physical_id)["LifecycleHooks"]
    hook_names = ("LifecycleHookName", "LifecycleTransition", "DefaultResult", "HeartbeatTimeout")
    return Found(
        {
            **pick(group, *names),
            "VPCZoneIdentifier": group["VPCZoneIdentifier"].split(","),
            "Tags": tags,
            "MetricsCollection": [
                {"Granularity": granularity, "Metrics": [each["Metric"] for each in metrics]}
                for granularity, metrics in groupby(group.get("EnabledMetrics", []), itemgetter("Granularity"))
            ],
            "LifecycleHookSpecificationList": [pick(hook, *hook_names) for hook in hooks],
        }
    )


READERS = {
    "AWS::EC2::LaunchTemplate": Reader(_launch_template),
    "AWS::AutoScaling::AutoScalingGroup": Reader(
        _group, frozenset({"TargetGroupARNs", "VPCZoneIdentifier", "Tags", "MetricsCollection.Metrics"})
    ),
}
