"""The stacks of a configuration, deployed to the emulated account by the real `cdk bootstrap` and `cdk deploy`."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_ops.architecture import Architecture
from local.emulator.aws import ACCOUNT, REGION, Aws
from local.emulator.process import Emulator

REPOSITORY = Path(__file__).resolve().parent.parent


class DeploymentError(Exception):
    """The CDK command line failed; the message has the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class LaunchTemplate:
    """What an instance of a fleet is launched from, read back from the emulated EC2.

    Args:
        user_data: Decoded.
        instance_profile: The instance profile's name.
    """

    user_data: str
    instance_profile: str


@dataclass(frozen=True)
class TargetGroup:
    """A target group, as its service describes it, and its attributes."""

    description: Mapping[str, Any]
    attributes: Mapping[str, str]


class Deployment:
    """A configuration's stacks on the emulated account.

    Args:
        emulator: The account.
        directory: Where the cloud assembly goes.
        config: The configuration, a TOML file.
        name: Its deployment's name.
        app: The module of another app, which defines these stacks and more. Default: what cdk.json says.
    """

    def __init__(
        self, emulator: Emulator, directory: Path, *, config: Path, name: str = "buildkit", app: str | None = None
    ) -> None:
        self.assembly = directory / "cdk.out"
        self._emulator = emulator
        self._aws = Aws(emulator.endpoint_url)
        self._config = config
        self._name = name
        self._app = ("--app", f"{sys.executable} -m {app}") if app else ()

    def deploy(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Bootstrap the account and deploy every stack.

        Raises:
            DeploymentError: The CDK command line failed.
        """
        progress("cdk bootstrap")
        self._cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        progress("cdk deploy --all")
        self._cdk(
            *("deploy", "--all", "--require-approval=never", "--progress=events"),
            *(f"--context=config={self._config}", f"--output={self.assembly}"),
        )

    def client_certificate(self, fleet: str) -> dict[str, str]:
        """Return what the fleet's clients are given: the PEM texts `ca.crt`, `tls.crt` and `tls.key`."""
        return self._certificate(self._output(f"{self._name}-builders-{fleet}", "ClientCertificateSecret"))

    def server_certificate(self, fleet: str) -> dict[str, str]:
        """Return what the fleet's builders are given, with the same keys."""
        resources = self._resources(fleet, "AWS::SecretsManager::Secret")
        (secret,) = (arn for logical_id, arn in resources.items() if logical_id.startswith("CertificatesServer"))
        return self._certificate(secret)

    def domain_name(self, fleet: str) -> str:
        """Return the name that the fleet's builders prove to have, as its stack's output says."""
        return self._output(f"{self._name}-builders-{fleet}", "DomainName", "ServerName")

    def log_group(self, fleet: str) -> str:
        """Return the name of the log group of the fleet's builders, as its stack's output says."""
        return self._output(f"{self._name}-builders-{fleet}", "LogGroupName")

    def cache_bucket(self, architecture: Architecture) -> str:
        """Return the name of the architecture's cache bucket, as the stack's output says."""
        return self._output(f"{self._name}-cache", f"{architecture.construct_id}CacheBucketName")

    def objects(self, architecture: Architecture, prefix: str = "") -> dict[str, tuple[Any, ...]]:
        """Return the size and what else changes when it is written again, of every object in the cache bucket."""
        pages = self._aws.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.cache_bucket(architecture), Prefix=prefix)
        return {
            item["Key"]: (item["Size"], item["ETag"], item["LastModified"])
            for page in found
            for item in page.get("Contents", [])
        }

    def launch_template(self, fleet: str, architecture: Architecture) -> LaunchTemplate:
        """Return what the fleet's instances of the architecture are launched from."""
        specification = self.mixed_instances_policy(fleet, architecture)["LaunchTemplate"][
            "LaunchTemplateSpecification"
        ]
        (version,) = self._aws.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=specification["LaunchTemplateId"], Versions=[specification["Version"]]
        )["LaunchTemplateVersions"]
        data: dict[str, Any] = version["LaunchTemplateData"]
        return LaunchTemplate(
            user_data=base64.b64decode(data["UserData"]).decode(),
            instance_profile=data["IamInstanceProfile"]["Arn"].rpartition("/")[2],
        )

    def mixed_instances_policy(self, fleet: str, architecture: Architecture) -> Any:  # noqa: ANN401 - as boto3 describes it
        """Return what the fleet's group of the architecture launches, as Auto Scaling describes it."""
        return self.group(fleet, architecture)["MixedInstancesPolicy"]

    def group_name(self, fleet: str, architecture: Architecture) -> str:
        """Return the name of the fleet's Auto Scaling group of the architecture."""
        name: str = self.group(fleet, architecture)["AutoScalingGroupName"]
        return name

    def target_group_attributes(self, fleet: str, architecture: Architecture) -> dict[str, str]:
        """Return the attributes of the target group that the fleet's builders of the architecture join."""
        (target_group,) = self.group(fleet, architecture)["TargetGroupARNs"]
        attributes = self._aws.client("elbv2").describe_target_group_attributes(TargetGroupArn=target_group)
        return {attribute["Key"]: attribute["Value"] for attribute in attributes["Attributes"]}

    def target_group(self, fleet: str, architecture: Architecture) -> dict[str, Any]:
        """Return the target group that the fleet's builders of the architecture join, as its service describes it."""
        (arn,) = self.group(fleet, architecture)["TargetGroupARNs"]
        (group,) = self._aws.client("elbv2").describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
        return dict(group)

    def pod_target_group(self, fleet: str, architecture: Architecture) -> TargetGroup:
        """Return the target group that the fleet's pods of the architecture join."""
        groups = self._resources(fleet, "AWS::ElasticLoadBalancingV2::TargetGroup")
        (arn,) = (arn for logical_id, arn in groups.items() if architecture.construct_id in logical_id)
        elbv2 = self._aws.client("elbv2")
        (group,) = elbv2.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
        attributes = elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
        return TargetGroup(group, {attribute["Key"]: attribute["Value"] for attribute in attributes})

    def wake_function(self, fleet: str) -> str:
        """Return the name of the function that wakes the fleet, as its stack's output says."""
        return self._output(f"{self._name}-builders-{fleet}", "WakeFunction")

    def cache_names_function(self, fleet: str) -> str:
        """Return the name of the function that says which cache to import, as the fleet's stack's output says."""
        return self._output(f"{self._name}-builders-{fleet}", "CacheNamesFunction")

    def issuer_function(self, fleet: str) -> str:
        """Return the name of the function that issues the fleet's certificates."""
        functions = self._resources(fleet, "AWS::Lambda::Function")
        (name,) = (name for logical_id, name in functions.items() if logical_id.startswith("CertificatesIssuer"))
        return name

    def group(self, fleet: str, architecture: Architecture) -> Any:  # noqa: ANN401 - as boto3 describes it
        """Return the Auto Scaling group of the fleet's builders of the architecture."""
        return self._group(fleet, f"Fleet{architecture.construct_id}BuildersASG")

    def fallback_group(self, fleet: str, architecture: Architecture) -> Any:  # noqa: ANN401 - as boto3 describes it
        """Return the group on demand beside it, of a fleet on spot capacity."""
        return self._group(fleet, f"Fleet{architecture.construct_id}BuildersFallbackASG")

    def _group(self, fleet: str, head: str) -> Any:  # noqa: ANN401 - as boto3 describes it
        resources = self._resources(fleet, "AWS::AutoScaling::AutoScalingGroup")
        (name,) = (name for logical_id, name in resources.items() if logical_id.startswith(head))
        (group,) = self._aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
            "AutoScalingGroups"
        ]
        return group

    def _resources(self, fleet: str, kind: str) -> dict[str, str]:
        """Return the physical ids of the fleet's resources of a type, by logical id."""
        described = self._aws.client("cloudformation").describe_stack_resources(
            StackName=f"{self._name}-builders-{fleet}"
        )["StackResources"]
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in described
            if resource["ResourceType"] == kind
        }

    def _certificate(self, secret: str) -> dict[str, str]:
        value = self._aws.client("secretsmanager").get_secret_value(SecretId=secret)
        certificate: dict[str, str] = json.loads(value["SecretString"])
        return certificate

    def _output(self, stack: str, *names: str) -> str:
        """Return the output of a stack that has one of these names."""
        (described,) = self._aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        outputs: dict[str, str] = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        return next(outputs[name] for name in names if name in outputs)

    def _cdk(self, *arguments: str) -> None:
        programs = Path(sys.executable).parent
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self._emulator.environment,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CDK_VALIDATION": "false",  # the checks do it, and it takes half of the time
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        completed = subprocess.run(
            [str(programs / "cdk"), *arguments, *self._app, "--no-notices", "--ci"],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if completed.returncode:
            raise DeploymentError(f"cdk {arguments[0]} failed:\n" + "\n".join(completed.stdout.splitlines()[-30:]))
