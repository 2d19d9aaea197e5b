"""What a builder boots from: user data that names files and sums, and an asset that holds the files as they are."""

import hashlib
import json
import re
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from app import define_stacks
from cdk_buildkit import Architecture
from stacks.config import load_config

X86_64_SHA256 = "fbabdb72433a35f5bb646e4cd424bf8567e5d055710cf55840f7af2020640791"


@pytest.fixture(scope="module")
def assembly(make_app: Callable[[], cdk.App], root: Path) -> Any:  # noqa: ANN401 - the type's module is private
    app = make_app()
    define_stacks(app, load_config(root / "builders.toml"))
    return app.synth()


@pytest.fixture(scope="module")
def host_files(root: Path) -> dict[str, bytes]:
    """The files that land on a builder, by name, but for the one that travels in the user data and those of pods."""
    directory = root / "constructs/cdk_buildkit/host"
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and path.name != "loader.sh" and not path.name.startswith("pod_")
    }


@pytest.fixture(scope="module")
def user_data(assembly: Any) -> list[Message]:  # noqa: ANN401 - the type's module is private
    """The parts of the user data of the fleet main for x86_64."""
    template = Template.from_json(assembly.get_stack_by_name("buildkit-builders-main").template)
    (data,) = (
        resource["Properties"]["LaunchTemplateData"]["UserData"]
        for name, resource in template.find_resources("AWS::EC2::LaunchTemplate").items()
        if Architecture.X86_64.construct_id in name
    )
    message = message_from_string("".join(map(as_text, data["Fn::Base64"]["Fn::Join"][1])))
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


@pytest.fixture(scope="module")
def written_files(user_data: list[Message]) -> dict[str, dict[str, str]]:
    """What cloud-init writes, by path."""
    configuration = json.loads(str(user_data[0].get_payload()))
    assert set(configuration) == {"write_files"}
    return {each["path"]: each for each in configuration["write_files"]}


def as_text(part: Any) -> str:  # noqa: ANN401 - a part of a template
    """A part of a joined text, its references as `<name>`."""
    match part:
        case {"Ref": name} | {"Fn::ImportValue": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Sub": text}:
            return str(text)
    return str(part)


def test_user_data_is_a_cloud_config_and_a_script(user_data: list[Message]) -> None:
    assert [part.get_content_type() for part in user_data] == ["text/cloud-config", "text/x-shellscript"]


def test_the_script_is_the_loader_as_it_stands(user_data: list[Message], root: Path) -> None:
    assert user_data[1].get_payload() == (root / "constructs/cdk_buildkit/host/loader.sh").read_text()


def test_user_data_fits_into_what_ec2_takes(user_data: list[Message]) -> None:
    # Before it is encoded (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html).
    limit, for_names_of_a_deployment = 16 * 1024, 1024
    assert sum(len(str(part)) for part in user_data) < limit - for_names_of_a_deployment


def test_three_files_are_written_which_everyone_may_read(written_files: dict[str, dict[str, str]]) -> None:
    assert {path: each["permissions"] for path, each in written_files.items()} == {
        "/etc/cdk-buildkit/environment": "0644",
        "/etc/cdk-buildkit/host.sha256": "0644",
        "/etc/cdk-buildkit/log_events.py": "0644",
    }


def test_what_turns_the_console_into_events_is_written_as_it_stands(
    written_files: dict[str, dict[str, str]], root: Path
) -> None:
    content = (root / "constructs/cdk_buildkit/host/log_events.py").read_text()
    assert written_files["/etc/cdk-buildkit/log_events.py"]["content"] == content


def test_the_environment_has_what_the_host_files_read(written_files: dict[str, dict[str, str]], assembly: Any) -> None:  # noqa: ANN401 - the type's module is private
    lines = written_files["/etc/cdk-buildkit/environment"]["content"].splitlines()
    (asset,) = host_assets(assembly)

    environment = dict(line.split("=", 1) for line in lines)
    bucket = environment.pop("AWS_BUCKET")
    assert bucket.startswith("<buildkit-cache:ExportsOutputRefX8664CacheBucket")
    assert environment.pop("CERTIFICATE_SECRET").startswith("<CertificatesServer")
    assert environment.pop("CERTIFICATE_REVISION").startswith("<CertificatesIssued")
    assert re.fullmatch(
        rf"s3://<buildkit-release:ExportsOutputFnGetAttReleasesCopied\w+>/buildkit/v0.31.2/linux-amd64/{X86_64_SHA256}.tar.gz",
        environment.pop("BUILDKIT_ARCHIVE"),
    )
    assert environment.pop("LOG_GROUP").startswith("<FleetLogs")
    target_group = environment.pop("TARGET_GROUP")
    assert target_group.startswith("<FleetLoadBalancerX8664Targets")
    assert environment == {
        "HOST_FILES": "s3://cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}/"
        f"{asset.name.removeprefix('asset.')}.zip",
        "AWS_REGION": "<AWS::Region>",
        "BUILDKIT_ARCHIVE_SHA256": X86_64_SHA256,
        "LONGEST_BUILD_SECONDS": "3600",
        "LAUNCHING_HOOK": "boot",
        "TERMINATING_HOOK": "drain",
        "HEARTBEAT_SECONDS": "300",
        "SETTLING_SECONDS": "120",
        "FLEET": "main.buildkit.buildkit.internal",
        "ARCHITECTURE": "x86_64",
        "METRIC_NAMESPACE": "CdkBuildkit",
        "PUBLISH_SECONDS": "10",
        "MAX_BUILDS": "4",
        "IDLE_TIMEOUT_SECONDS": "900",
        "MAX_PARALLELISM": "0",
        "STEP_MEMORY_BYTES": "0",
        "STEP_CPUS": "0",
    }


def test_the_sums_are_those_of_the_files_and_no_file_lacks_one(
    written_files: dict[str, dict[str, str]], host_files: dict[str, bytes]
) -> None:
    lines = written_files["/etc/cdk-buildkit/host.sha256"]["content"].splitlines()

    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in host_files.items()}


def test_the_asset_holds_the_host_files_byte_for_byte_and_nothing_else(
    assembly: Any,  # noqa: ANN401 - the type's module is private
    host_files: dict[str, bytes],
) -> None:
    (asset,) = host_assets(assembly)

    assert {path.name: path.read_bytes() for path in asset.iterdir()} == host_files


def host_assets(assembly: Any) -> list[Path]:  # noqa: ANN401 - the type's module is private
    """The directories of an app's assets that hold host files."""
    return [
        path
        for path in Path(assembly.directory).iterdir()
        if path.name.startswith("asset.") and (path / "bootstrap.sh").exists()
    ]
