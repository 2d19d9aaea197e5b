"""What is simulated is what is deployed: the parameters come from the template of builders.toml."""

from collections.abc import Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from bench.fleet.comparison import variants
from bench.fleet.deployment import read_policy
from bench.fleet.policy import Policy
from bench.fleet.prices import INSTANCE_PRICES, IdleBill, running_hour, volume_hour
from buildkit_ops.architecture import Architecture
from cdk_buildkit import BuilderCapacity, BuilderScaling
from cdk_buildkit.builder_lifecycle import SETTLING
from cdk_buildkit.builder_scaling import METRIC_PERIOD
from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES


@pytest.fixture(params=list(Architecture))
def architecture(request: pytest.FixtureRequest) -> Architecture:
    """Each architecture."""
    each: Architecture = request.param
    return each


@pytest.fixture
def fleet(default_templates: Mapping[str, Template], architecture: Architecture) -> Policy:
    """Return what is read from the default template."""
    return read_policy(default_templates["buildkit-builders-main"].to_json(), architecture)


def test_the_simulated_parameters_are_the_defaults_of_the_constructs(fleet: Policy) -> None:
    scaling, capacity = BuilderScaling(), BuilderCapacity()

    assert (fleet.min_capacity, fleet.max_capacity) == (capacity.min_capacity, capacity.max_capacity)
    assert fleet.target == scaling.target_builds_per_builder
    assert fleet.max_builds == scaling.max_builds
    assert fleet.idle_timeout == scaling.idle_timeout.total_seconds()
    assert fleet.metric_period == METRIC_PERIOD.total_seconds()
    assert fleet.settling == SETTLING.to_seconds()


def test_the_simulated_builder_is_the_preferred_one_and_has_a_price(fleet: Policy, architecture: Architecture) -> None:
    assert fleet.machine.instance_type == DEFAULT_INSTANCE_TYPES[architecture][0]
    assert {each.machine.instance_type for each in variants(fleet)} <= set(INSTANCE_PRICES)


def test_an_hour_of_a_builder_costs_what_its_parts_cost(default_templates: Mapping[str, Template]) -> None:
    fleet = read_policy(default_templates["buildkit-builders-main"].to_json(), Architecture.ARM64)
    pool = next(each for each in variants(fleet) if each.pool)

    assert running_hour(fleet.machine, spot=False, metric_period=10) == pytest.approx(0.3629 + 360 * 0.01 / 1000)
    assert running_hour(fleet.machine, spot=True, metric_period=None) == pytest.approx(0.3629 * 0.4)
    assert volume_hour(fleet.machine) == pytest.approx(20 * 0.08 / 730)
    assert volume_hour(pool.machine) == pytest.approx((220 * 0.08 + 3000 * 0.005 + 375 * 0.04) / 730)


def test_the_idle_bill_counts_what_the_templates_define() -> None:
    kinds = ["AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::VPC"]
    kinds += ["AWS::Route53::HostedZone", "AWS::SecretsManager::Secret", "AWS::SecretsManager::Secret"]
    kinds += ["AWS::CloudWatch::Alarm", "AWS::AutoScaling::ScalingPolicy"]
    template: dict[str, Any] = {"Resources": {str(number): {"Type": kind} for number, kind in enumerate(kinds)}}
    watched = [{"Expression": "one + other"}, {"MetricStat": {}}, {"MetricStat": {}}]
    template["Resources"]["math"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": watched}}

    bill = IdleBill.of([template])

    load_balancer, gateway, address = 0.0225 * 730, 0.045 * 730, 0.005 * 730
    assert bill.month == pytest.approx(load_balancer + gateway + address + 0.5 + 2 * 0.4 + 3 * 0.1 + 0.9)
    assert bill.without(kinds[0]).month == pytest.approx(bill.month - load_balancer)


def test_the_default_deployment_has_an_idle_bill(default_templates: Mapping[str, Template]) -> None:
    bill = IdleBill.of(template.to_json() for template in default_templates.values())

    assert bill.resources["AWS::EC2::NatGateway"] == 1
    assert bill.resources["AWS::ElasticLoadBalancingV2::LoadBalancer"] == 2
