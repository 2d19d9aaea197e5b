"""The parameters of the simulated fleet, read from the templates that a configuration file synthesizes to."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from app import define_stacks
from bench.fleet.builder import Machine
from bench.fleet.load_balancer import HealthCheck
from bench.fleet.policy import Policy, Scaling
from buildkit_ops.architecture import Architecture
from cdk_buildkit.instance_types import instance_type_architecture
from stacks.config import load_config

ROOT = Path(__file__).parents[2]

_NVME_BYTES = {"c7gd.2xlarge": 474e9, "c6id.2xlarge": 474e9}
"""https://docs.aws.amazon.com/ec2/latest/instancetypes/co.html."""

_AWS_DEFAULTS = {"HealthyThresholdCount": 5, "UnhealthyThresholdCount": 2, "HealthCheckIntervalSeconds": 30}
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html."""

Template = Mapping[str, Any]


def synthesize(config: Path = ROOT / "builders.toml") -> dict[str, Template]:
    """Return the templates of a configuration file, by stack name."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    with tempfile.TemporaryDirectory() as directory:
        app = cdk.App(context=context, outdir=directory)
        define_stacks(app, load_config(config))
        return {stack.stack_name: stack.template for stack in app.synth().stacks}


def read_policy(template: Template, architecture: Architecture = Architecture.ARM64) -> Policy:
    """Return how a stack of builders runs its fleet of one architecture.

    Raises:
        ValueError: It has no group of that architecture that follows its builds.
    """
    tracking, group = _tracked_group(template, architecture)
    warmup = tracking.get("EstimatedInstanceWarmup", group["DefaultInstanceWarmup"])
    target_group = _referred(template, group["TargetGroupARNs"][0])
    attributes = {each["Key"]: each["Value"] for each in target_group["TargetGroupAttributes"]}
    launch_template = _referred(template, _template_specification(group)["LaunchTemplateId"])
    environment = _environment(launch_template)
    instance_type = _instance_type(group)
    return Policy(
        name="fleet",
        machine=Machine(instance_type=instance_type, disk_bytes=_NVME_BYTES[instance_type]),
        min_capacity=int(group["MinSize"]),
        max_capacity=int(group["MaxSize"]),
        scaling=Scaling.BUILDS,
        target=tracking["TargetValue"],
        metric_period=tracking["CustomizedMetricSpecification"]["Period"],
        instance_warmup=warmup,
        wakes=True,
        max_builds=int(environment["MAX_BUILDS"]),
        idle_timeout=float(environment["IDLE_TIMEOUT_SECONDS"]),
        settling=float(environment["SETTLING_SECONDS"]),
        release=float(attributes["deregistration_delay.timeout_seconds"]),
        ends_itself=launch_template["LaunchTemplateData"].get("InstanceInitiatedShutdownBehavior") == "terminate",
        health_check=_health_check({**_AWS_DEFAULTS, **target_group}),
    )


def _tracked_group(template: Template, architecture: Architecture) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    for policy in _resources(template, "AWS::AutoScaling::ScalingPolicy"):
        group = _referred(template, policy["AutoScalingGroupName"])
        if instance_type_architecture(_instance_type(group)) is architecture:
            return policy["TargetTrackingConfiguration"], group
    raise ValueError(
        f"a simulated fleet has a group of {architecture} builders with a target tracking policy; got a template "
        "without: name the stack of an EC2 fleet, and an architecture that it has"
    )


def _resources(template: Template, kind: str) -> Iterator[Mapping[str, Any]]:
    for resource in template["Resources"].values():
        if resource["Type"] == kind:
            yield resource["Properties"]


def _referred(template: Template, reference: Mapping[str, str]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = template["Resources"][reference["Ref"]]["Properties"]
    return properties


def _template_specification(group: Mapping[str, Any]) -> Mapping[str, Any]:
    specification: Mapping[str, Any] = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    return specification


def _instance_type(group: Mapping[str, Any]) -> str:
    return str(group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"][0]["InstanceType"])


def _environment(launch_template: Mapping[str, Any]) -> dict[str, str]:
    # The environment file is in the user data, a join of texts and references.
    user_data = json.dumps(launch_template["LaunchTemplateData"]["UserData"])
    return dict(re.findall(r"n([A-Z_]+)=(\d+)\\", user_data))


def _health_check(target_group: Mapping[str, Any]) -> HealthCheck:
    return HealthCheck(
        interval=float(target_group["HealthCheckIntervalSeconds"]),
        healthy_threshold=target_group["HealthyThresholdCount"],
        unhealthy_threshold=target_group["UnhealthyThresholdCount"],
    )
