"""Load balancers, listeners and target groups."""

from local.emulator.cloudformation.resource_type import Declaration, Provisioned, ResourceType, only


def _create_load_balancer(declaration: Declaration) -> Provisioned:
    elb, properties = declaration.aws.client("elbv2"), declaration.properties
    (balancer,) = elb.create_load_balancer(
        Name=properties.get("Name", declaration.name(32)),
        **only(properties, "Scheme", "SecurityGroups", "Subnets", "Type", "IpAddressType", "Tags"),
    )["LoadBalancers"]
    attributes = properties.get("LoadBalancerAttributes")
    if attributes:
        elb.modify_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=attributes)
    return Provisioned(
        balancer["LoadBalancerArn"],
        {
            "LoadBalancerArn": balancer["LoadBalancerArn"],
            "LoadBalancerName": balancer["LoadBalancerName"],
            "LoadBalancerFullName": balancer["LoadBalancerArn"].partition(":loadbalancer/")[2],
            "DNSName": balancer["DNSName"],
            "CanonicalHostedZoneID": balancer["CanonicalHostedZoneId"],
            "SecurityGroups": balancer.get("SecurityGroups", []),
        },
    )


def _delete_load_balancer(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("elbv2").delete_load_balancer(LoadBalancerArn=physical_id)


def _create_target_group(declaration: Declaration) -> Provisioned:
    elb, properties = declaration.aws.client("elbv2"), declaration.properties
    (group,) = elb.create_target_group(
        Name=properties.get("Name", declaration.name(32)),
        **only(
            properties,
            "HealthCheckEnabled",
            "HealthCheckIntervalSeconds",
            "HealthCheckPath",
            "HealthCheckPort",
            "HealthCheckProtocol",
            "HealthCheckTimeoutSeconds",
            "HealthyThresholdCount",
            "Matcher",
            "Port",
            "Protocol",
            "Tags",
            "TargetType",
            "UnhealthyThresholdCount",
            "VpcId",
        ),
    )["TargetGroups"]
    attributes = properties.get("TargetGroupAttributes")
    if attributes:
        elb.modify_target_group_attributes(TargetGroupArn=group["TargetGroupArn"], Attributes=attributes)
    return Provisioned(
        group["TargetGroupArn"],
        {
            "TargetGroupArn": group["TargetGroupArn"],
            "TargetGroupName": group["TargetGroupName"],
            "TargetGroupFullName": group["TargetGroupArn"].rpartition(":")[2],
        },
    )


def _delete_target_group(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("elbv2").delete_target_group(TargetGroupArn=physical_id)


def _create_listener(declaration: Declaration) -> Provisioned:
    elb, properties = declaration.aws.client("elbv2"), declaration.properties
    (listener,) = elb.create_listener(
        **only(properties, "LoadBalancerArn", "Port", "Protocol", "DefaultActions", "Tags")
    )["Listeners"]
    attributes = properties.get("ListenerAttributes")
    if attributes:
        elb.modify_listener_attributes(ListenerArn=listener["ListenerArn"], Attributes=attributes)
    return Provisioned(listener["ListenerArn"], {"ListenerArn": listener["ListenerArn"]})


def _delete_listener(declaration: Declaration, physical_id: str) -> None:
    declaration.aws.client("elbv2").delete_listener(ListenerArn=physical_id)


TYPES = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ResourceType(_create_load_balancer, _delete_load_balancer),
    "AWS::ElasticLoadBalancingV2::TargetGroup": ResourceType(_create_target_group, _delete_target_group),
    "AWS::ElasticLoadBalancingV2::Listener": ResourceType(_create_listener, _delete_listener),
}
