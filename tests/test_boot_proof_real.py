"""A deploy proves its host: the function that does it, with a group that launches real builders.

Run in a sandbox: `python -m local.sandbox pytest tests/test_boot_proof_real.py`.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from cdk_buildkit.handlers.proof.index import handler
from local.builder import Builder
from local.custom_resource import CustomResource
from local.emulator.aws import Aws
from local.lab import ARCHITECTURE, Lab
from local.launching_group import LaunchingGroup
from local.vpc import GATEWAY

FLEET = "main"
ABANDONED = "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token token-of-{} was abandoned"


@dataclass
class Trial:
    """A proof's group with its custom resource, and the builders that the group has launched."""

    group: LaunchingGroup
    resource: CustomResource
    builders: list[Builder]


@pytest.fixture
def prover(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Callable[..., Any]:
    """Make trials whose builders differ from the launch template in some way, with a function that is not patient."""
    for name, value in lab.emulator.environment.items():
        monkeypatch.setenv(name, value)
    patience = {"LAUNCH_SECONDS": "5", "BOOT_SECONDS": "60", "REMOVAL_SECONDS": "5", "POLL_SECONDS": "0.2"}
    for name, value in {"LOG_GROUP": "prover", **patience}.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def trial(
        environment: dict[str, str] | None = None,
        *,
        image_change: str = "",
        heartbeat_timeout: float = 60,
        refused_launches: tuple[str, ...] = (),
    ) -> Iterator[Trial]:
        builders: list[Builder] = []

        def launch() -> Builder:
            services = ("AUTO_SCALING", "ELASTIC_LOAD_BALANCING_V2")
            endpoints = {f"AWS_ENDPOINT_URL_{service}": group.endpoint for service in services}
            differently = {**endpoints, **(environment or {})}
            builder = lab.instance(FLEET, environment=differently, group_name=group.name, image_change=image_change)
            builder.start_boot()
            builders.append(builder)
            return builder

        policy = lab.deployment.mixed_instances_policy(FLEET, ARCHITECTURE)
        group = LaunchingGroup(
            GATEWAY,
            mixed_instances_policy=policy,
            launch=launch,
            heartbeat_timeout=heartbeat_timeout,
            refused_launches=refused_launches,
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL_AUTO_SCALING", group.endpoint)
        monkeypatch.setenv("NO_PROXY", f"localhost,127.0.0.1,{GATEWAY}")
        try:
            with CustomResource(handler, {"AutoScalingGroup": group.name}) as resource:
                yield Trial(group, resource, builders)
        finally:
            group.close()

    return trial


def test_a_builder_boots_serves_and_is_removed(prover: Callable[..., Any]) -> None:
    with prover() as trial:
        answer = trial.resource.ask("Create")

        (builder,) = trial.builders
        assert answer["Status"] == "SUCCESS"
        assert trial.group.answers == [(builder.instance_id, "CONTINUE")]
        assert trial.group.capacities == [1, 0]
        trial.resource.ask("Delete", answer["PhysicalResourceId"])
        assert trial.group.builders == []


def test_what_has_booted_once_is_not_booted_again(prover: Callable[..., Any]) -> None:
    with prover() as trial:
        proven = trial.resource.ask("Create")["PhysicalResourceId"]

        again = trial.resource.ask("Update", proven)

        assert (again["Status"], again["PhysicalResourceId"]) == ("SUCCESS", proven)
        assert trial.group.launches == 1


def test_a_wrong_archive_fails_the_deploy_and_names_the_builder(prover: Callable[..., Any]) -> None:
    with prover({"BUILDKIT_ARCHIVE_SHA256": "0" * 64}) as trial:
        answer = trial.resource.ask("Create")

        builder = trial.builders[0]
        assert answer["Status"] == "FAILED"
        assert answer["Reason"] == (
            f"BootError: the builder {builder.instance_id} did not boot: {ABANDONED.format(builder.instance_id)}: "
            "Lifecycle Action Completed with ABANDON Result. Its console says why, for an hour after its end: aws ec2 "
            f"get-console-output --output text --instance-id {builder.instance_id}. Mend it and deploy again. To "
            "deploy without this proof, set prove_boot to false (details: log group prover)"
        )
        assert "put the archive of that sum there" in builder.console.read_text()


def test_nothing_is_left_of_a_failed_proof_though_auto_scaling_launches_another_builder_at_once(
    prover: Callable[..., Any],
) -> None:
    with prover({"BUILDKIT_ARCHIVE_SHA256": "0" * 64}) as trial:
        answer = trial.resource.ask("Create")

        trial.resource.ask("Delete", answer["PhysicalResourceId"])

        assert trial.group.capacities == [1, 0]
        assert trial.group.builders == []


def test_a_certificate_that_cannot_be_read_fails_the_deploy(prover: Callable[..., Any], lab: Lab) -> None:
    user_data = lab.deployment.launch_template("pull-requests", ARCHITECTURE).user_data
    (of_another_fleet,) = re.findall(r"CERTIFICATE_SECRET=(arn:[^\\]+)", user_data)
    with prover({"CERTIFICATE_SECRET": of_another_fleet}) as trial:
        answer = trial.resource.ask("Create")

        builder = trial.builders[0]
        assert answer["Reason"].startswith(f"BootError: the builder {builder.instance_id} did not boot: ")
        assert "AccessDenied" in builder.console.read_text()
        assert trial.group.answers[0] == (builder.instance_id, "ABANDON")


def test_a_store_that_cannot_be_mounted_fails_the_deploy(
    prover: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOT_SECONDS", "180")  # a disk is waited for
    with prover(image_change="umount /var/lib/buildkit", heartbeat_timeout=180) as trial:
        answer = trial.resource.ask("Create")

        builder = trial.builders[0]
        assert answer["Reason"].startswith(f"BootError: the builder {builder.instance_id} did not boot: ")
        assert "builder-store.service: " in builder.console.read_text()
        assert trial.group.answers[0] == (builder.instance_id, "ABANDON")


def test_a_builder_that_never_answers_fails_the_deploy(
    prover: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOT_SECONDS", "6")
    with silent_server() as url, prover({"AWS_ENDPOINT_URL_S3": url}) as trial:
        answer = trial.resource.ask("Create")

        builder = trial.builders[0]
        assert answer["Reason"].startswith(
            f"BootError: the builder {builder.instance_id} has neither served nor given up within 6 s, and is "
            "Pending:Wait. Its console says why"
        )
        assert trial.group.capacities == [1, 0]


def test_a_builder_whose_hook_times_out_fails_the_deploy_and_leaves_nothing(prover: Callable[..., Any]) -> None:
    with (
        silent_server() as url,
        prover({"AWS_ENDPOINT_URL_S3": url}, heartbeat_timeout=6) as trial,
    ):
        answer = trial.resource.ask("Create")

        assert "was abandoned: Heartbeat Timeout. " in answer["Reason"]
        trial.resource.ask("Delete", answer["PhysicalResourceId"])
        assert trial.group.builders == []


def test_a_launch_that_ec2_refuses_at_first_is_waited_for(prover: Callable[..., Any]) -> None:
    with prover(refused_launches=("Could not launch Spot Instances. UnfulfillableCapacity",)) as trial:
        answer = trial.resource.ask("Create")

        assert answer["Status"] == "SUCCESS"
        assert trial.group.launches == 1


# In the emulated account, whose group has its builder in service as soon as it is wanted


def test_the_deployment_ran_the_function_with_its_own_role_for_each_group(lab: Lab) -> None:
    client = Aws(lab.emulator.endpoint_url).client
    for fleet in ("main", "pull-requests"):
        resources = boot_proof(lab, fleet)
        proofs = [each for each in resources if each["ResourceType"] == "AWS::CloudFormation::CustomResource"]
        groups = [each for each in resources if each["ResourceType"] == "AWS::AutoScaling::AutoScalingGroup"]
        for group in groups:
            name = group["PhysicalResourceId"]
            (described,) = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
                "AutoScalingGroups"
            ]
            launched = client("ec2").describe_instances(
                Filters=[{"Name": "tag:aws:autoscaling:groupName", "Values": [name]}]
            )["Reservations"]
            assert described["DesiredCapacity"] == 0
            assert [each["State"]["Name"] for one in launched for each in one["Instances"]] == ["terminated"]

        assert len(proofs) == len(groups) == 2
        assert all(re.fullmatch("proven:[0-9a-f]{64}", each["PhysicalResourceId"]) for each in proofs)


def test_the_functions_role_cannot_resize_the_fleets_own_group(lab: Lab) -> None:
    client = Aws(lab.emulator.endpoint_url).client
    (function,) = (
        each["PhysicalResourceId"] for each in boot_proof(lab, FLEET) if each["ResourceType"] == "AWS::Lambda::Function"
    )
    group = lab.deployment.group_name(FLEET, ARCHITECTURE)

    def invoke(event: Any, _: object) -> None:  # noqa: ANN401 - CloudFormation's
        client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())

    with CustomResource(invoke, {"AutoScalingGroup": group}) as resource:
        answer = resource.ask("Delete", "proven:")

    assert answer["Reason"].startswith("ClientError: An error occurred (AccessDenied) when calling the SetDesiredCap")


def boot_proof(lab: Lab, fleet: str) -> list[Any]:
    """The resources of a fleet's proof."""
    resources = (
        Aws(lab.emulator.endpoint_url)
        .client("cloudformation")
        .describe_stack_resources(StackName=f"buildkit-builders-{fleet}")["StackResources"]
    )
    return [each for each in resources if each["LogicalResourceId"].startswith("FleetBootProof")]


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server((GATEWAY, 0)) as server:
        yield f"http://{GATEWAY}:{server.getsockname()[1]}"
