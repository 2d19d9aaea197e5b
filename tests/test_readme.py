"""Every command and every line of code in the README is run, or CI runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Template

from buildkit_ops.architecture import Architecture
from local.emulator.aws import OPERATOR_ACCESS_KEY
from local.fleet_address import fleet_address
from local.lab import Lab

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

RUN_ELSEWHERE = {
    "make local": "CI",
    "make local COMPUTE=eks": "CI",
    "make test": "CI",
    "make install && source .venv/bin/activate": "each make target installs first, CI included",
    "cdk bootstrap": "local/deployment.py, against an emulated account",
    "cdk deploy --all": "local/deployment.py, against an emulated account",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    joined = block.replace("\\\n", " ")
    return [command for line in joined.splitlines() if (command := " ".join(line.partition("#")[0].split()))]


COMMANDS = [command for block in blocks("sh") for command in commands(block)]
CLIENT_COMMANDS = [command for command in COMMANDS if command.startswith(("docker buildx ", "cdk-buildkit "))]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_no_command_is_left_untried() -> None:
    assert set(COMMANDS) - set(CLIENT_COMMANDS) == set(RUN_ELSEWHERE)


@pytest.mark.parametrize("target", ["check", "test", "local"])
def test_ci_runs_the_make_targets(target: str) -> None:
    assert re.search(rf"^make {target}\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_commands_of_a_client_build_for_both_architectures_by_the_fleets_name(
    lab: Lab, tmp_path: Path, busybox_arguments: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM busybox\nRUN ["/bin/busybox", "sh", "-c", "echo built >/built"]\n')
    environment = {
        **os.environ,
        **lab.emulator.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BUILDX_CONFIG": str(tmp_path / "buildx"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    assert len(CLIENT_COMMANDS) == 3
    position = lab.emulator.log.position
    with (
        lab.builder("main", Architecture.X86_64) as x86_64,
        lab.builder("main", Architecture.ARM64) as arm64,
        fleet_address(
            lab.deployment.domain_name("main"),
            tmp_path,
            {Architecture.X86_64: x86_64.address, Architecture.ARM64: arm64.address},
        ),
    ):
        for command in CLIENT_COMMANDS:
            extra = " ".join([*busybox_arguments, "--output=type=image,name=example"])
            completed = subprocess.run(
                ["bash", "-c", command.removeprefix("docker ").replace("buildx build", f"buildx build {extra}")],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

            assert completed.returncode == 0, completed.stderr
    for architecture in Architecture:
        puts = [each for each in lab.cache_requests(architecture, since=position) if each.method == "PUT" and each.key]
        assert "main/manifests/app/feature" in {each.key for each in puts}
        assert OPERATOR_ACCESS_KEY not in {each.access_key for each in puts}


def test_the_import_example_synthesizes(make_app: Callable[[], cdk.App]) -> None:
    stack = cdk.Stack(make_app(), "Team")
    vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
    names: dict[str, Any] = {
        "self": stack,
        "vpc": vpc,
        "zone": route53.PrivateHostedZone(stack, "Zone", vpc=vpc, zone_name="team.internal"),
        "runner_role": iam.Role(stack, "RunnerRole", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")),
        "runners": ec2.SecurityGroup(stack, "Runners", vpc=vpc),
    }
    (code,) = blocks("python")

    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - the README's own

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::S3::Bucket", 3)
    template.resource_count_is("AWS::ElasticLoadBalancingV2::TargetGroup", 2)
