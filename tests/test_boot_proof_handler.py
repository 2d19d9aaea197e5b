"""The function that proves a host, against an emulated Auto Scaling and EC2, and by what these may say."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from cdk_buildkit.handlers.proof.index import handler
from cdk_buildkit.handlers.proof.record import Record
from cdk_buildkit.handlers.proof.verdict import (
    Activity,
    BootError,
    Instance,
    LaunchError,
    NoCapacityError,
    check_boot,
    refusal,
    serving,
)
from local.builder import Builder
from local.custom_resource import CustomResource
from local.launching_group import LaunchingGroup

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

Launches = Callable[[], int]
MakeResource = Callable[..., tuple[LaunchingGroup, CustomResource]]

FINGERPRINTS = [letter * 64 for letter in "abc"]
GROUP = "proof"
NO_CAPACITY = [
    (
        "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
        "configuration. Please adjust your request and try again. Launching EC2 instance failed."
    ),
    (
        "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
        "c7gd.2xlarge capacity in the Availability Zone you requested (eu-west-1a). Launching EC2 instance failed."
    ),
    "We currently do not have sufficient c7gd.2xlarge capacity in the Availability Zone you requested (eu-west-1a).",
    "There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
]
OTHER_REFUSALS = [
    (
        "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your "
        "current vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to."
    ),
    "The image id 'ami-0123' does not exist. Launching EC2 instance failed.",
]
"""What EC2 says through Auto Scaling, as its users have reported it."""


def data(words: str) -> Any:  # noqa: ANN401 - a launch template's data
    return {"ImageId": "ami-12c6146b", "InstanceType": "c7gd.2xlarge", "KernelId": words}


def policy(launch_template_id: str, version: str) -> Any:  # noqa: ANN401 - a mixed instances policy
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": launch_template_id, "Version": version},
            "Overrides": [{"InstanceType": "c7gd.2xlarge"}, {"InstanceType": "m7gd.2xlarge"}],
        },
        "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100},
    }


def activity(status_code: str, description: str, status_message: str = "") -> Activity:
    return Activity(activity_id="1", status_code=status_code, status_message=status_message, description=description)


@pytest.fixture(scope="module")
def cloud() -> Iterator[None]:
    """An emulated account: its images take it a second."""
    with mock_aws():
        yield


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, cloud: None) -> Iterator["AutoScalingClient"]:
    """A group as the stack has it, in which a builder is in service as soon as it is wanted."""
    assert cloud is None
    settings = {"LAUNCH_SECONDS": "0.6", "BOOT_SECONDS": "1", "REMOVAL_SECONDS": "1", "POLL_SECONDS": "0.05"}
    for name, value in {"AWS_DEFAULT_REGION": "eu-west-1", "LOG_GROUP": "prover", **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cdk_buildkit.handlers.proof.proof_group._ATTEMPT_SECONDS", 0.01)
    ec2, autoscaling = boto3.client("ec2"), boto3.client("autoscaling")
    template = ec2.create_launch_template(LaunchTemplateName="builders", LaunchTemplateData=data("first"))
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=0,
        MaxSize=1,
        VPCZoneIdentifier=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        MixedInstancesPolicy=policy(template["LaunchTemplate"]["LaunchTemplateId"], "1"),
    )
    yield autoscaling
    monkeypatch.undo()
    if autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]:
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
    ec2.delete_launch_template(LaunchTemplateName="builders")


@pytest.fixture
def launches(account: "AutoScalingClient") -> Launches:
    """Count the instances that were launched since the test began."""
    assert account

    def count() -> int:
        return sum(len(each["Instances"]) for each in boto3.client("ec2").describe_instances()["Reservations"])

    before = count()
    return lambda: count() - before


@pytest.fixture
def resource(account: "AutoScalingClient") -> Iterator[CustomResource]:
    assert account
    with CustomResource(handler, {"AutoScalingGroup": GROUP}) as resource:
        yield resource


@pytest.fixture
def refusing_group(monkeypatch: pytest.MonkeyPatch, account: "AutoScalingClient") -> Iterator[MakeResource]:
    """Make a custom resource whose group refuses calls or launches, and never comes to launch."""
    groups = []
    (described,) = account.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]

    def launch() -> Builder:
        raise AssertionError("no builder is to be launched")

    def make(
        refused_launches: Iterable[str], refused_calls: Iterable[str] = ()
    ) -> tuple[LaunchingGroup, CustomResource]:
        group = LaunchingGroup(
            "127.0.0.1",
            mixed_instances_policy=described["MixedInstancesPolicy"],
            launch=launch,
            name=GROUP,
            refused_launches=refused_launches,
            refused_calls=refused_calls,
        )
        groups.append(group)
        monkeypatch.setenv("AWS_ENDPOINT_URL_AUTO_SCALING", group.endpoint)
        return group, CustomResource(handler, {"AutoScalingGroup": GROUP})

    yield make
    for group in groups:
        group.close()


def desired_capacity(account: "AutoScalingClient") -> int:
    (group,) = account.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    assert not group["Instances"]
    return group["DesiredCapacity"]


def deploy(account: "AutoScalingClient", words: str) -> None:
    """Give the group a new version of its launch template, as every deploy does, a way back included."""
    ec2 = boto3.client("ec2")
    ec2.create_launch_template_version(LaunchTemplateName="builders", LaunchTemplateData=data(words))
    (template,) = ec2.describe_launch_templates(LaunchTemplateNames=["builders"])["LaunchTemplates"]
    account.update_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MixedInstancesPolicy=policy(template["LaunchTemplateId"], str(template["LatestVersionNumber"])),
    )


# A deploy


def test_a_first_deploy_boots_one_builder_and_leaves_the_group_empty(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    answer = resource.ask("Create")

    assert answer["Status"] == "SUCCESS"
    assert re.fullmatch("proven:[0-9a-f]{64}", answer["PhysicalResourceId"])
    assert launches() == 1
    assert desired_capacity(account) == 0


def test_another_launch_template_is_proven_and_the_one_before_is_remembered(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    deploy(account, "second")

    second = resource.ask("Update", first)["PhysicalResourceId"]

    assert launches() == 2
    assert re.fullmatch(f"proven:[0-9a-f]{{64}},{first.removeprefix('proven:')}", second)


def test_another_version_of_the_same_is_no_other_launch_template(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    deploy(account, "first")

    assert resource.ask("Update", first)["PhysicalResourceId"] == first
    assert launches() == 1


def test_other_instance_types_are_proven(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    (group,) = account.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    changed: Any = group["MixedInstancesPolicy"]
    changed["LaunchTemplate"]["Overrides"].pop()
    del changed["LaunchTemplate"]["LaunchTemplateSpecification"]["LaunchTemplateName"]
    account.update_auto_scaling_group(AutoScalingGroupName=GROUP, MixedInstancesPolicy=changed)

    assert resource.ask("Update", first)["PhysicalResourceId"] != first
    assert launches() == 2


def test_other_subnets_are_proven(account: "AutoScalingClient", resource: CustomResource, launches: Launches) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    (_, second, *_) = boto3.client("ec2").describe_subnets()["Subnets"]
    (template,) = boto3.client("ec2").describe_launch_templates(LaunchTemplateNames=["builders"])["LaunchTemplates"]
    account.update_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        VPCZoneIdentifier=second["SubnetId"],
        MixedInstancesPolicy=policy(template["LaunchTemplateId"], "1"),  # the emulator forgets it otherwise
    )

    assert resource.ask("Update", first)["PhysicalResourceId"] != first
    assert launches() == 2


# The ways back


def test_a_way_back_from_a_failed_proof_boots_nothing(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    deploy(account, "second")
    account.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
    monkeypatch.setattr("moto.autoscaling.models.FakeAutoScalingGroup.set_desired_capacity", lambda *_: None)
    failed = resource.ask("Update", first)
    deploy(account, "first")

    back = resource.ask("Update", failed["PhysicalResourceId"])

    assert failed["Status"] == "FAILED"
    assert failed["PhysicalResourceId"] == first
    assert (back["Status"], back["PhysicalResourceId"]) == ("SUCCESS", first)
    assert launches() == 1


def test_a_way_back_after_a_proof_boots_nothing_either_and_neither_does_the_next_attempt(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    deploy(account, "second")
    second = resource.ask("Update", first)["PhysicalResourceId"]
    deploy(account, "first")
    back = resource.ask("Update", second)["PhysicalResourceId"]
    deploy(account, "second")
    again = resource.ask("Update", back)["PhysicalResourceId"]

    assert launches() == 2
    assert again == second


def test_a_way_back_ends_what_a_call_that_was_cut_off_has_left(
    account: "AutoScalingClient", resource: CustomResource
) -> None:
    first = resource.ask("Create")["PhysicalResourceId"]
    account.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)

    answer = resource.ask("Update", first)

    assert answer["Status"] == "SUCCESS"
    assert desired_capacity(account) == 0


def test_a_proof_begins_with_an_empty_group(
    account: "AutoScalingClient", resource: CustomResource, launches: Launches
) -> None:
    account.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)

    answer = resource.ask("Create")

    assert answer["Status"] == "SUCCESS"
    assert launches() == 2
    assert desired_capacity(account) == 0


# The end


def test_at_its_end_the_group_is_emptied(account: "AutoScalingClient", resource: CustomResource) -> None:
    account.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)

    answer = resource.ask("Delete", "proven:")

    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "proven:")
    assert desired_capacity(account) == 0


@pytest.mark.parametrize("physical_id", ["Proof", f"proven:{FINGERPRINTS[0]}"])
def test_at_its_end_it_does_not_matter_that_the_group_is_gone(
    account: "AutoScalingClient", resource: CustomResource, physical_id: str
) -> None:
    account.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)

    assert resource.ask("Delete", physical_id)["Status"] == "SUCCESS"


# Refusals


def test_a_deploy_without_the_group_fails_in_words(account: "AutoScalingClient", resource: CustomResource) -> None:
    account.delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)

    answer = resource.ask("Create")

    assert answer["Reason"] == (
        f"ProofError: there is no Auto Scaling group {GROUP}: deploy the stack again (details: log group prover)"
    )


@pytest.mark.parametrize("words", NO_CAPACITY)
def test_lost_capacity_fails_the_deploy_by_its_name(refusing_group: MakeResource, words: str) -> None:
    group, resource = refusing_group(itertools.repeat(words))
    with resource:
        answer = resource.ask("Create")

    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == (
        "NoCapacityError: EC2 had no capacity for a builder within 1 s, of any of c7gd.2xlarge, m7gd.2xlarge in any "
        f"zone of the fleet: {words} Add instance types or zones, or deploy later. To deploy without this proof, set "
        "prove_boot to false (details: log group prover)"
    )
    assert group.capacities == [1, 0]


@pytest.mark.parametrize("words", OTHER_REFUSALS)
def test_another_refusal_is_passed_on(refusing_group: MakeResource, words: str) -> None:
    _, resource = refusing_group(itertools.repeat(words))
    with resource:
        answer = resource.ask("Create")

    assert answer["Reason"] == (
        f"LaunchError: Auto Scaling launched no builder in the group {GROUP} within 1 s: {words} Mend it and deploy "
        "again. To deploy without this proof, set prove_boot to false (details: log group prover)"
    )


@pytest.mark.parametrize("code", ["ScalingActivityInProgress", "ResourceContention", "AccessDenied"])
def test_a_refusal_that_may_pass_is_waited_for(refusing_group: MakeResource, code: str) -> None:
    group, resource = refusing_group(itertools.repeat("no"), [code, code])
    with resource:
        answer = resource.ask("Create")

    assert answer["Reason"].startswith("LaunchError: ")
    assert group.capacities == [1, 0]


def test_a_refusal_that_does_not_pass_fails_the_deploy(refusing_group: MakeResource) -> None:
    group, resource = refusing_group([], itertools.repeat("AccessDenied"))
    with resource:
        answer = resource.ask("Create")

    assert answer["Reason"].startswith("ClientError: An error occurred (AccessDenied) when calling the SetDesiredCap")
    assert group.capacities == []


# What it reads


def test_an_instance_serves_when_it_is_in_service() -> None:
    waiting = Instance(instance_id="i-1", lifecycle_state="Pending:Wait")
    ready = Instance(instance_id="i-2", lifecycle_state="InService")

    assert serving([]) is None
    assert serving([waiting]) is None
    assert serving([waiting, ready]) == "i-2"


@pytest.mark.parametrize(
    ("state", "is_leaving"),
    [
        ("Pending", False),
        ("Pending:Wait", False),
        ("InService", False),
        ("Terminating", True),
        ("Terminating:Wait", True),
        ("Terminated", True),
    ],
)
def test_an_instance_leaves_when_auto_scaling_ends_it(state: str, *, is_leaving: bool) -> None:
    assert Instance(instance_id="i-1", lifecycle_state=state).is_leaving is is_leaving


def test_an_instance_that_ec2_ends_while_it_boots_has_not_booted() -> None:
    words = "Instance became unhealthy while waiting for instance to be in InService state."
    cut = activity("Cancelled", f"Launching a new EC2 instance: i-0a1b.  Status Reason: {words}", words)

    with pytest.raises(BootError, match="the builder i-0a1b did not boot: Instance became unhealthy"):
        check_boot([activity("Failed", "Launching a new EC2 instance"), cut])


def test_a_builder_that_leaves_badly_is_no_builder_that_did_not_boot() -> None:
    check_boot([activity("Failed", "Terminating EC2 instance: i-0a1b"), activity("InProgress", "Launching a new EC2")])


def test_the_latest_refusal_counts() -> None:
    latest = activity("Failed", "Launching a new EC2 instance", "The image id 'ami-1' does not exist.")
    activities = [activity("InProgress", "Launching"), latest, activity("Failed", "Launching", NO_CAPACITY[0])]

    error = refusal(activities, GROUP, ["c7gd.2xlarge"], 240)

    assert type(error) is LaunchError
    assert "within 240 s: The image id 'ami-1' does not exist. Mend it" in str(error)


def test_a_group_that_does_nothing_is_named() -> None:
    error = refusal([], GROUP, [], 240)

    assert not isinstance(error, NoCapacityError)
    assert "in the group proof within 240 s: it does not say why; look whether one of its processes" in str(error)


# The record


@pytest.mark.parametrize("physical_id", ["", "Proof", f"Proof{FINGERPRINTS[0]}", "proven:", "proven:short"])
def test_a_strange_physical_id_records_nothing(physical_id: str) -> None:
    assert Record.parse(physical_id) == Record(())


def test_a_record_survives_its_writing() -> None:
    record = Record(()).with_newest(FINGERPRINTS[0]).with_newest(FINGERPRINTS[1])

    assert Record.parse(str(record)) == record
    assert record.has(FINGERPRINTS[0])
    assert record.has(FINGERPRINTS[1])
    assert not record.has(FINGERPRINTS[2])


def test_a_record_holds_two_and_forgets_the_oldest() -> None:
    record = Record(())
    for each in FINGERPRINTS:
        record = record.with_newest(each)

    assert record.fingerprints == (FINGERPRINTS[2], FINGERPRINTS[1])
