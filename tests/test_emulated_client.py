"""The tool and the function that it asks, on a deployed emulated account: with the rights of a granted role alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from buildkit_ops.architecture import Architecture
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.port_forward import DOCUMENT, request
from local.deployment import Deployment
from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator
from local.emulator.read_back import read_back
from local.emulator.request_log import Denial
from local.release import ReleaseServer

STACK = "buildkit-builders-main"
CONFIG = """
[builders.main]
cache = { write = "main", read = ["main", "nightly"] }
[builders.nightly]
architectures = ["x86_64"]
cache = { write = "nightly", read = ["nightly"] }
"""


class Account:
    """The stacks, and a machine with the tool and the credentials of a role."""

    def __init__(self, emulator: Emulator, deployment: Deployment, directory: Path) -> None:
        self.emulator = emulator
        self.deployment = deployment
        self.directory = directory
        self.aws = Aws(emulator.endpoint_url)
        buildx = directory / "bin" / "buildx"
        buildx.parent.mkdir()
        buildx.write_text("#!/bin/sh\n")
        buildx.chmod(0o755)

    def profile_of(self, role: str) -> str:
        return self._id_of("clients", "AWS::IAM::InstanceProfile", role)

    def secret(self, kind: str) -> str:
        return self._id_of(STACK, "AWS::SecretsManager::Secret", f"Certificates{kind}")

    def _id_of(self, stack: str, type_name: str, name: str) -> str:
        resources = self.aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        (physical_id,) = (
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == type_name and each["LogicalResourceId"].startswith(name)
        )
        return str(physical_id)

    def tool(self, *arguments: str, role: str | None = "Client") -> tuple[int, Any]:
        """Run the tool with a role's credentials, or the operator's, and return its exit code and its answer."""
        credentials = self.emulator.instance_credentials(self.profile_of(role)) if role else None
        done = subprocess.run(
            [str(Path(sys.executable).parent / "cdk-buildkit"), *arguments, "--json"],
            env={
                **self.emulator.environment,
                **(
                    {
                        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
                        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
                        "AWS_SESSION_TOKEN": credentials["Token"],
                    }
                    if credentials
                    else {}
                ),
                "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.directory),
                "XDG_STATE_HOME": str(self.directory / "state"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    def flags(self, project: str, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        wish = (f"--project={project}", "--branch=feature", "--default-branch=main")
        code, answer = self.tool("flags", STACK, *wish, *arguments)
        assert code == 0, answer
        return answer

    def put(self, scope: str, name: str, *architectures: Architecture) -> None:
        for each in architectures or tuple(Architecture):
            key = f"{scope}/manifests/{name}"
            self.aws.client("s3").put_object(Bucket=self.deployment.cache_bucket(each), Key=key, Body=b"{}")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("account")
    config = directory / "builders.toml"
    config.write_text(CONFIG)
    # No builder boots here: any file will do for a release.
    archives = {each: directory / f"buildkit-v0.31.2.linux-{each.oci_name}.tar.gz" for each in Architecture}
    for architecture, archive in archives.items():
        archive.write_text(architecture)
    with ReleaseServer(archives, directory) as release:
        release.configure(config, config)
        with Emulator(directory / "requests.log", enforce_iam=False, authority_file=release.authority_file) as emulator:
            deployment = Deployment(emulator, directory, config=config, app="tests.apps.client")
            deployment.deploy()
            emulator.enforce_iam()
            yield Account(emulator, deployment, directory)


def test_all_of_it_reads_back_as_declared(account: Account) -> None:
    result = read_back(account.emulator.endpoint_url, account.deployment.assembly)

    assert result.is_clean, (result.differences, result.unchecked)


def test_the_outputs_say_all_that_a_client_needs(account: Account) -> None:
    (stack,) = account.aws.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]

    fleet = FleetOutputs.read(STACK, {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]})

    assert fleet.cache_names_function == account.deployment.cache_names_function("main")
    assert fleet.server_name == "main.buildkit.buildkit.internal"
    assert fleet.endpoints == {
        Architecture.ARM64: "tcp://main.buildkit.buildkit.internal:1235",
        Architecture.X86_64: "tcp://main.buildkit.buildkit.internal:1234",
    }


def test_a_project_without_a_cache_imports_its_own_name(account: Account) -> None:
    answer = account.flags("new")

    assert answer["imports"] is None
    assert answer["cache_from"] == ["type=s3,prefix=main/,name=new/feature,access_key_id=,secret_access_key="]


def test_a_branch_without_a_cache_imports_the_default_branchs_alone_and_exports_to_its_own(account: Account) -> None:
    account.put("main", "app/main")
    position = account.emulator.log.position

    answer = account.flags("app")

    assert answer["cache_from"] == ["type=s3,prefix=main/,name=app/main,access_key_id=,secret_access_key="]
    (export,) = answer["cache_to"]
    assert export.startswith("type=s3,prefix=main/,name=app/feature,access_key_id=,secret_access_key=,mode=max")
    assert [each for each in account.emulator.log.since(position) if isinstance(each, Denial)] == []


def test_a_cache_for_every_architecture_comes_before_the_branchs_for_one(account: Account) -> None:
    account.put("main", "half/main")
    account.put("main", "half/feature", Architecture.ARM64)

    assert account.flags("half")["imports"]["name"] == "half/main"
    assert account.flags("half", "--architecture=arm64")["imports"]["name"] == "half/feature"


def test_a_scope_that_the_fleet_reads_is_looked_into(account: Account) -> None:
    account.put("nightly", "night/main")

    assert account.flags("night")["imports"] == {
        "scope": "nightly",
        "name": "night/main",
        "architectures": ["arm64", "x86_64"],
    }


def test_who_was_not_granted_is_told_what_to_grant(account: Account) -> None:
    code, answer = account.tool("connect", STACK, role="Stranger")

    assert (code, answer["error"]["code"]) == (3, "not-allowed")
    assert answer["error"]["message"].endswith("call grant_connect for their role where the fleet is defined")


def test_a_client_fetches_and_wakes_and_nothing_stays_when_the_fleet_is_not_reached(account: Account) -> None:
    code, answer = account.tool("connect", STACK)

    assert (code, answer["error"]["code"]) == (5, "unknown-host")
    assert "in the fleet's VPC" in answer["error"]["message"]
    assert list((account.directory / "state" / "cdk-buildkit").iterdir()) == []


def test_who_may_connect_to_one_fleet_may_not_to_another(account: Account) -> None:
    code, answer = account.tool("connect", "buildkit-builders-nightly")

    assert (code, answer["error"]["code"]) == (3, "not-allowed")


def test_a_stack_that_is_not_there_is_named_with_its_region(account: Account) -> None:
    code, answer = account.tool("flags", "nowhere", "--project=a", "--branch=b", role=None)

    assert (code, answer["error"]["code"]) == (3, "no-stack")
    assert answer["error"]["message"].startswith(f"there is no stack nowhere in {REGION}; pass the name")


def test_a_stack_of_another_kind_is_no_fleet(account: Account) -> None:
    code, answer = account.tool("connect", "buildkit-cache", role=None)

    assert (code, answer["error"]["code"]) == (3, "no-fleet")
    assert "has no output Arm64Endpoint or Arm64Service" in answer["error"]["message"]


def test_an_architecture_that_the_fleet_has_not_is_refused(account: Account) -> None:
    code, answer = account.tool("connect", "buildkit-builders-nightly", "--architecture=arm64", role=None)

    assert (code, answer["error"]["code"]) == (2, "architecture")
    assert "builds for x86_64; got --architecture arm64" in answer["error"]["message"]


def test_a_client_sees_neither_the_cache_nor_the_builders_certificate(account: Account) -> None:
    credentials = account.emulator.instance_credentials(account.profile_of("Client"))
    session = boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["Token"], region_name=REGION
    )
    url = account.emulator.endpoint_url
    bucket = account.deployment.cache_bucket(Architecture.ARM64)

    with pytest.raises(ClientError, match="AccessDenied"):
        session.client("s3", endpoint_url=url).get_object(Bucket=bucket, Key="main/manifests/app/main")
    secrets = session.client("secretsmanager", endpoint_url=url)
    for kind in ("Server", "Authority"):
        with pytest.raises(ClientError, match="AccessDenied"):
            secrets.get_secret_value(SecretId=account.secret(kind))


# Through Session Manager


def session_of(account: Account, role: str, call: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
    """Call Systems Manager as a role, and return its answer, or the code of its refusal."""
    credentials = account.emulator.instance_credentials(account.profile_of(role))
    client = boto3.client(
        "ssm",
        endpoint_url=account.emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )
    try:
        return getattr(client, call)(**arguments)
    except ClientError as refused:
        return refused.response["Error"]["Code"]


@pytest.fixture(scope="module")
def instances(account: Account) -> dict[str, str]:
    """Return an instance of each fleet."""
    found = {}
    for fleet in ("main", "nightly"):
        name = account.deployment.group_name(fleet, Architecture.X86_64)
        account.aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
        found[fleet] = account.deployment.group(fleet, Architecture.X86_64)["Instances"][0]["InstanceId"]
    return found


def test_a_granted_role_forwards_a_port_of_its_fleets_instances(account: Account, instances: dict[str, str]) -> None:
    asked = request(instances["main"], 5000)

    answer = session_of(account, "Client", "start_session", **asked)

    assert {"SessionId", "TokenValue", "StreamUrl"} <= set(answer)


@pytest.mark.parametrize(
    ("role", "fleet", "document"),
    [
        ("Client", "main", None),
        ("Client", "main", "SSM-SessionManagerRunShell"),
        ("Client", "main", "AWS-StartInteractiveCommand"),
        ("Client", "main", "AWS-StartPortForwardingSessionToRemoteHost"),
        ("Client", "nightly", DOCUMENT),
        ("Stranger", "main", DOCUMENT),
    ],
    ids=["a shell", "a shell by its name", "a command", "another host's port", "another fleet", "a stranger"],
)
def test_no_other_session_may_be_started(
    account: Account, instances: dict[str, str], role: str, fleet: str, document: str | None
) -> None:
    named = {"DocumentName": document} if document else {}

    assert session_of(account, role, "start_session", Target=instances[fleet], **named) == "AccessDenied"


def test_only_the_own_session_may_be_ended(account: Account, instances: dict[str, str]) -> None:
    asked = request(instances["main"], 5000)
    own = session_of(account, "Client", "start_session", **asked)["SessionId"]
    others = account.aws.client("ssm").start_session(**asked)["SessionId"]

    assert session_of(account, "Client", "terminate_session", SessionId=others) == "AccessDenied"
    assert session_of(account, "Client", "terminate_session", SessionId=own)["SessionId"] == own
