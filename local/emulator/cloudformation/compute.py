"""Launch templates and Auto Scaling groups."""

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _create_launch_template(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    ec2 = declaration.aws.client("ec2")
    template = ec2.create_launch_template(
        LaunchTemplateName=properties.get("LaunchTemplateName", declaration.name(128)),
        LaunchTemplateData=properties["LaunchTemplateData"],
    )["LaunchTemplate"]
    for specification in properties.get("TagSpecifications", []):
        # Given on creation, moto would mix them into the tags of the instances.
        ec2.create_tags(Resources=[template["LaunchTemplateId"]], Tags=specification["Tags"])
    return Provisioned(
        template["LaunchTemplateId"],
        {
            "LaunchTemplateId": template["LaunchTemplateId"],
            "LatestVersionNumber": str(template["LatestVersionNumber"]),
            "DefaultVersionNumber": str(template["DefaultVersionNumber"]),
        },
    )


def _delete_launch_template(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("ec2").delete_launch_template(LaunchTemplateId=physical_id)


def _create_group(declaration: Declaration) -> Provisioned:
    properties = declaration.properties
    name = properties.get("AutoScalingGroupName", declaration.name(255))
    numbers = only(
        properties,
        *("MinSize", "MaxSize", "DesiredCapacity", "HealthCheckGracePeriod"),
        *("DefaultInstanceWarmup", "MaxInstanceLifetime"),
    )
    tags = [{**tag, "ResourceId": name, "ResourceType": "auto-scaling-group"} for tag in properties.get("Tags", [])]
    autoscaling = declaration.aws.client("autoscaling")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        VPCZoneIdentifier=",".join(properties["VPCZoneIdentifier"]),
        Tags=tags,
        **{key: int(value) for key, value in numbers.items()},
        **only(
            properties,
            "MixedInstancesPolicy",
            "LaunchTemplate",
            "TargetGroupARNs",
            "HealthCheckType",
            "CapacityRebalance",
            "InstanceMaintenancePolicy",
            "NewInstancesProtectedFromScaleIn",
            "TerminationPolicies",
        ),
    )
    for hook in properties.get("LifecycleHookSpecificationList", []):
        autoscaling.put_lifecycle_hook(
            AutoScalingGroupName=name, **{**hook, "HeartbeatTimeout": int(hook["HeartbeatTimeout"])}
        )
    for collection in properties.get("MetricsCollection", []):
        autoscaling.enable_metrics_collection(AutoScalingGroupName=name, **collection)
    return Provisioned(name)


def _delete_group(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=physical_id, ForceDelete=True)


TYPES = {
    "AWS::EC2::LaunchTemplate": ResourceType(_create_launch_template, _delete_launch_template),
    "AWS::AutoScaling::AutoScalingGroup": ResourceType(_create_group, _delete_group),
}
