"""Reads load balancers, listeners and target groups back."""

from collections.abc import Mapping
from typing import Any

from local.emulator.read_back.reader import Account, Found, Reader, pick


def _tags(account: Account, arn: str) -> list[dict[str, str]]:
    (described,) = account.client("elbv2").describe_tags(ResourceArns=[arn])["TagDescriptions"]
    tags: list[dict[str, str]] = described["Tags"]
    return tags


def _load_balancer(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    elb = account.client("elbv2")
    (balancer,) = elb.describe_load_balancers(LoadBalancerArns=[physical_id])["LoadBalancers"]
    return Found(
        {
            "Name": balancer["LoadBalancerName"],
            "Subnets": [zone["SubnetId"] for zone in balancer["AvailabilityZones"]],
            "LoadBalancerAttributes": elb.describe_load_balancer_attributes(LoadBalancerArn=physical_id)["Attributes"],
            "Tags": _tags(account, physical_id),
            **pick(balancer, "IpAddressType", "Scheme", "SecurityGroups", "Type"),
        },
        {
            "LoadBalancerArn": physical_id,
            "LoadBalancerFullName": physical_id.partition(":loadbalancer/")[2],
            "CanonicalHostedZoneID": balancer["CanonicalHostedZoneId"],
            **pick(balancer, "DNSName", "LoadBalancerName", "SecurityGroups"),
        },
    )


def _target_group(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    elb = account.client("elbv2")
    (group,) = elb.describe_target_groups(TargetGroupArns=[physical_id])["TargetGroups"]
    names = (
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
        "TargetType",
        "UnhealthyThresholdCount",
        "VpcId",
    )
    return Found(
        {
            "Name": group["TargetGroupName"],
            "TargetGroupAttributes": elb.describe_target_group_attributes(TargetGroupArn=physical_id)["Attributes"],
            "Tags": _tags(account, physical_id),
            **pick(group, *names),
        },
        {"TargetGroupFullName": physical_id.rpartition(":")[2], **pick(group, "TargetGroupArn", "TargetGroupName")},
    )


def _listener(account: Account, physical_id: str, _: Mapping[str, Any]) -> Found:
    elb = account.client("elbv2")
    (listener,) = elb.describe_listeners(ListenerArns=[physical_id])["Listeners"]
    return Found(
        {
            "ListenerAttributes": elb.describe_listener_attributes(ListenerArn=physical_id)["Attributes"],
            "Tags": _tags(account, physical_id),
            **pick(listener, "DefaultActions", "LoadBalancerArn", "Port", "Protocol"),
        },
        {"ListenerArn": physical_id},
    )


READERS = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": Reader(_load_balancer, frozenset({"SecurityGroups", "Subnets"})),
    "AWS::ElasticLoadBalancingV2::TargetGroup": Reader(_target_group),
    "AWS::ElasticLoadBalancingV2::Listener": Reader(_listener),
}
