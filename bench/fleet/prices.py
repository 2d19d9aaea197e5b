"""List prices of us-east-1 in US dollars, without free tiers, discounts and data transfer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.fleet.builder import Machine

HOURS_PER_MONTH = 730

INSTANCE_PRICES = {
    "c7gd.2xlarge": 0.3629,
    "c7g.2xlarge": 0.29,
    "c6id.2xlarge": 0.4032,
    "c6i.2xlarge": 0.34,
}
"""An hour on demand, as AWS's price list said on 2026-01-19
(https://github.com/aws/karpenter-provider-aws, pkg/providers/pricing/zz_generated.pricing_aws.go)."""

SPOT_SHARE = 0.4
"""Spot prices are no list prices: an assumption within AWS's "up to 90 %" off
(https://aws.amazon.com/ec2/spot/pricing/)."""

GP3_GIB_MONTH = 0.08
GP3_IOPS_MONTH = 0.005
"""Above 3,000 (https://aws.amazon.com/ebs/pricing/)."""
GP3_MIBPS_MONTH = 0.04
"""Above 125 MiB/s."""
ROOT_GIB = 20

METRIC_MONTH = 0.30
PUT_METRIC_DATA = 0.01 / 1000
HIGH_RESOLUTION_ALARM_MONTH = 0.30
"""https://aws.amazon.com/cloudwatch/pricing/, as are those of metrics and alarms below."""

RESOURCE_MONTHS = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": 0.0225 * HOURS_PER_MONTH,
    "AWS::EC2::NatGateway": 0.045 * HOURS_PER_MONTH,
    "AWS::EC2::EIP": 0.005 * HOURS_PER_MONTH,
    "AWS::Route53::HostedZone": 0.50,
    "AWS::SecretsManager::Secret": 0.40,
    "AWS::CloudWatch::Alarm": 0.10,
    "AWS::CloudWatch::Dashboard": 3.00,
    "AWS::KMS::Key": 1.00,
}
"""A month of a resource that is paid for whether it is used or not
(https://aws.amazon.com/elasticloadbalancing/pricing/, https://aws.amazon.com/vpc/pricing/,
https://aws.amazon.com/route53/pricing/, https://aws.amazon.com/secrets-manager/pricing/,
https://aws.amazon.com/cloudwatch/pricing/, https://aws.amazon.com/kms/pricing/)."""


@dataclass(frozen=True, kw_only=True)
class IdleBill:
    """What a deployment costs a month before any builder runs.

    Args:
        resources: How many there are of each type that is paid for by time.
        policies: Target tracking policies. AWS keeps a pair of alarms for each, and the builders publish a metric.
    """

    resources: Mapping[str, int]
    policies: int

    @classmethod
    def of(cls, templates: Iterable[Mapping[str, Any]]) -> "IdleBill":
        """Count what the templates of a deployment define."""
        resources = [each for template in templates for each in template["Resources"].values()]
        types = [kind for each in resources for kind in [each["Type"]] * _priced_parts(each)]
        return cls(
            resources={kind: types.count(kind) for kind in RESOURCE_MONTHS if kind in types},
            policies=types.count("AWS::AutoScaling::ScalingPolicy"),
        )

    @property
    def month(self) -> float:
        """Dollars a month."""
        tracking = self.policies * (2 * HIGH_RESOLUTION_ALARM_MONTH + METRIC_MONTH)
        return tracking + sum(RESOURCE_MONTHS[kind] * count for kind, count in self.resources.items())

    @property
    def day(self) -> float:
        """Dollars a day."""
        return self.month * 24 / HOURS_PER_MONTH

    def without(self, kind: str) -> "IdleBill":
        """Return the bill of a deployment that has none of these resources."""
        resources = {each: count for each, count in self.resources.items() if each != kind}
        return IdleBill(resources=resources, policies=self.policies)


def _priced_parts(resource: Mapping[str, Any]) -> int:
    # An alarm is paid for by the metrics that it watches.
    metrics = resource.get("Properties", {}).get("Metrics", []) if resource["Type"] == "AWS::CloudWatch::Alarm" else []
    return sum("MetricStat" in each for each in metrics) or 1


def running_hour(machine: Machine, *, spot: bool, metric_period: float | None) -> float:
    """Return what an hour of a running builder costs besides its volumes.

    Args:
        machine: What it is.
        spot: Whether it runs on spot capacity.
        metric_period: Seconds between two of its publications. None: it publishes nothing.
    """
    price = INSTANCE_PRICES[machine.instance_type] * (SPOT_SHARE if spot else 1)
    return price + (3600 / metric_period * PUT_METRIC_DATA if metric_period else 0.0)


def volume_hour(machine: Machine) -> float:
    """Return what an hour of a builder's volumes costs, running or stopped: the root, and the store's if it is one."""
    month = ROOT_GIB * GP3_GIB_MONTH
    if volume := machine.volume:
        month += (
            volume.gib * GP3_GIB_MONTH
            + (volume.iops - 3000) * GP3_IOPS_MONTH
            + (volume.throughput - 125) * GP3_MIBPS_MONTH
        )
    return month / HOURS_PER_MONTH
