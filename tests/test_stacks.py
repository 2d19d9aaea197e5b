"""The stacks of a deployment: which there are, what they are called, and what they tell who deploys them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

STATEFUL = {
    "buildkit-cache": {"AWS::S3::Bucket": {"Arm64CacheBucketE13E55E6", "X8664CacheBucket9F10AF21"}},
    "buildkit-release": {
        "AWS::S3::Bucket": {"ReleasesBucketEA8ED4CA"},
        # When it is deleted it empties the bucket.
        "AWS::CloudFormation::CustomResource": {"ReleasesCopiedB5A780FB"},
    },
    "buildkit-network": {"AWS::Route53::HostedZone": {"ZoneA5DE4B68"}, "AWS::EC2::VPC": {"Vpc8378EB38"}},
}
"""Logical ids of what must not be replaced by a renamed construct."""

ALL_SETTINGS = """
[deployment]
name = "build-eu"
tags = { team = "platform" }
permissions_boundary = "developer-boundary"
bootstrap_qualifier = "build12345"

[cache]
retain = false
kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef"

[builders.main]
architectures = ["arm64"]
"""


@pytest.fixture(scope="module")
def run_app(root: Path) -> Callable[[Path, Path], subprocess.CompletedProcess[str]]:
    """Run app.py as the command line tool does, with the flags of cdk.json."""
    context = json.loads((root / "cdk.json").read_text())["context"]

    def run_app(configuration: Path, output: Path) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(root / "constructs"),
            "CDK_OUTDIR": str(output),
            "CDK_CONTEXT_JSON": json.dumps(context | {"config": str(configuration)}),
        }
        return subprocess.run(
            [sys.executable, "app.py"], cwd=root, env=environment, check=False, capture_output=True, text=True
        )

    return run_app


@pytest.fixture(scope="module")
def own_deployment(
    run_app: Callable[[Path, Path], subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Any]:
    """The files of a deployment with settings of its own, by name."""
    directory = tmp_path_factory.mktemp("own")
    path = directory / "prod.toml"
    path.write_text(ALL_SETTINGS)
    result = run_app(path, directory / "cdk.out")
    assert result.returncode == 0, result.stderr
    return {each.name: json.loads(each.read_text()) for each in (directory / "cdk.out").glob("*.json")}


def test_a_deployment_is_a_network_a_cache_a_release_and_a_stack_for_each_fleet(
    default_templates: Mapping[str, Template],
) -> None:
    assert set(default_templates) == {
        "buildkit-network",
        "buildkit-cache",
        "buildkit-release",
        "buildkit-observability",
        "buildkit-builders-main",
        "buildkit-builders-pull-requests",
    }


@pytest.mark.parametrize("stack", STATEFUL)
def test_what_holds_state_keeps_its_logical_id(default_templates: Mapping[str, Template], stack: str) -> None:
    found = {kind: set(default_templates[stack].find_resources(kind)) for kind in STATEFUL[stack]}

    assert found == STATEFUL[stack]


def test_nothing_has_a_physical_name_that_a_second_deployment_would_want(
    default_templates: Mapping[str, Template],
) -> None:
    names = {"BucketName", "RoleName", "LogGroupName", "LaunchTemplateName", "AutoScalingGroupName", "GroupName"}
    names |= {"AlarmName", "DashboardName", "TopicName", "FilterName"}

    named = {
        (each["Type"], name)
        for template in default_templates.values()
        for each in template.to_json()["Resources"].values()
        for name in names & set(each.get("Properties", {}))
    }
    # Each of these is another resource's name, which is made up at deployment.
    assert named == {
        ("AWS::EC2::FlowLog", "LogGroupName"),
        ("AWS::Logs::MetricFilter", "LogGroupName"),
        ("AWS::AutoScaling::ScalingPolicy", "AutoScalingGroupName"),
    }


def test_a_fleets_outputs_say_how_a_client_finds_it(default_templates: Mapping[str, Template]) -> None:
    outputs = dict(default_templates["buildkit-builders-main"].find_outputs("*"))

    assert "Client" in outputs.pop("ClientCertificateSecret")["Value"]["Ref"]
    assert "Waker" in outputs.pop("WakeFunction")["Value"]["Ref"]
    assert "CacheNames" in outputs.pop("CacheNamesFunction")["Value"]["Ref"]
    assert "FleetLogs" in outputs.pop("LogGroupName")["Value"]["Ref"]
    assert {name: each["Value"] for name, each in outputs.items()} == {
        "DomainName": "main.buildkit.buildkit.internal",
        "WriteScope": "main",
        "Arm64Endpoint": "tcp://main.buildkit.buildkit.internal:1235",
        "X8664Endpoint": "tcp://main.buildkit.buildkit.internal:1234",
    }


@pytest.mark.parametrize("output", ["Arm64CacheBucketName", "X8664CacheBucketName"])
def test_the_cache_stack_names_its_buckets(default_templates: Mapping[str, Template], output: str) -> None:
    default_templates["buildkit-cache"].has_output(
        output, {"Value": {"Ref": Match.string_like_regexp(output.removesuffix("Name"))}}
    )


def test_fleets_use_the_bucket_of_their_architecture(
    default_templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    templates = default_templates["buildkit-builders-main"].find_resources("AWS::EC2::LaunchTemplate")

    for name, resource in templates.items():
        architecture = "Arm64" if "Arm64" in name else "X8664"
        user_data = readable(resource["Properties"]["LaunchTemplateData"]["UserData"])
        assert f"AWS_BUCKET=<{architecture}CacheBucket>\\n" in user_data


def test_the_deployments_name_heads_every_stack(own_deployment: Mapping[str, Any]) -> None:
    stacks = [name.removesuffix(".template.json") for name in own_deployment if name.endswith(".template.json")]

    assert sorted(stacks) == [
        "build-eu-builders-main",
        "build-eu-cache",
        "build-eu-network",
        "build-eu-observability",
        "build-eu-release",
    ]


def test_the_deployments_tags_are_on_the_stacks_and_their_resources(own_deployment: Mapping[str, Any]) -> None:
    bucket = resource(own_deployment["build-eu-cache.template.json"], "AWS::S3::Bucket")

    assert {"Key": "team", "Value": "platform"} in bucket["Properties"]["Tags"]


def test_the_permissions_boundary_bounds_every_role(own_deployment: Mapping[str, Any]) -> None:
    for stack in ("builders-main", "network"):
        role = resource(own_deployment[f"build-eu-{stack}.template.json"], "AWS::IAM::Role")
        assert "policy/developer-boundary" in str(role["Properties"]["PermissionsBoundary"])


def test_the_bootstrap_qualifier_reaches_roles_and_assets(own_deployment: Mapping[str, Any]) -> None:
    artifact = own_deployment["manifest.json"]["artifacts"]["build-eu-builders-main"]["properties"]

    assert "cdk-build12345-deploy-role" in artifact["assumeRoleArn"]
    assert "cdk-build12345-assets" in str(own_deployment["build-eu-builders-main.template.json"])
    assert "hnb659fds" not in str(own_deployment["build-eu-builders-main.template.json"])


def test_buckets_go_with_their_stack_when_the_configuration_says_so(own_deployment: Mapping[str, Any]) -> None:
    bucket = resource(own_deployment["build-eu-cache.template.json"], "AWS::S3::Bucket")

    assert bucket["DeletionPolicy"] == "Delete"


def test_the_configurations_key_encrypts_the_cache_and_is_granted(own_deployment: Mapping[str, Any]) -> None:
    bucket = resource(own_deployment["build-eu-cache.template.json"], "AWS::S3::Bucket")
    (policy,) = (
        each
        for name, each in own_deployment["build-eu-builders-main.template.json"]["Resources"].items()
        if each["Type"] == "AWS::IAM::Policy" and name.startswith("FleetRole")
    )

    assert "key/01234567-89ab-cdef-0123-456789abcdef" in str(bucket["Properties"]["BucketEncryption"])
    granted = [each for each in policy["Properties"]["PolicyDocument"]["Statement"] if "kms:" in str(each["Action"])]
    assert [each["Action"] for each in granted] == [["kms:Decrypt", "kms:GenerateDataKey"]]


def test_a_configuration_that_is_refused_ends_the_app_with_its_words_and_no_traceback(
    run_app: Callable[[Path, Path], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    path = tmp_path / "builders.toml"
    path.write_text("[builders.main]\nspoot = true\n")

    result = run_app(path, tmp_path / "cdk.out")

    assert result.returncode == 1
    assert "builders.main.spoot: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("cdk.out/*.template.json"))


def test_the_templates_pass_the_cdks_own_validation(
    run_app: Callable[[Path, Path], subprocess.CompletedProcess[str]],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CDK_VALIDATION")

    result = run_app(root / "builders.toml", tmp_path)

    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert [each["pluginName"] for each in report["pluginReports"] if each["violations"]] == []


def resource(template: Any, kind: str) -> Any:  # noqa: ANN401 - a template and a part of it
    """The first resource of the type in a template."""
    return next(each for each in template["Resources"].values() if each["Type"] == kind)
