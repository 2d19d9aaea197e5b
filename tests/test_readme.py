"""Every command and every line of code in the README is run, or CI runs it."""

import os
import re
import subprocess
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
from local.builder import BUILDKIT_PORT
from local.lab import Lab

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FLEET_ADDRESS = "10.64.255.1"

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
BUILDX_COMMANDS = [command for command in COMMANDS if command.startswith("docker buildx ")]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_no_command_is_left_untried() -> None:
    assert set(COMMANDS) - set(BUILDX_COMMANDS) == set(RUN_ELSEWHERE)


@pytest.mark.parametrize("target", ["check", "test", "local"])
def test_ci_runs_the_make_targets(target: str) -> None:
    assert re.search(rf"^make {target}\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_buildx_commands_build_for_both_architectures_by_the_fleets_name(
    lab: Lab, tmp_path: Path, busybox_arguments: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text('FROM busybox\nRUN ["/bin/busybox", "sh", "-c", "echo built >/built"]\n')
    environment = {**os.environ, "BUILDX_CONFIG": str(tmp_path / "buildx"), "AWS_ACCESS_KEY_ID": "AKIADECOY"}
    assert len(BUILDX_COMMANDS) == 3
    with lab.builder("main", Architecture.X86_64) as x86_64, lab.builder("main", Architecture.ARM64) as arm64:
        for name, content in lab.deployment.client_certificate("main").items():
            (tmp_path / name).write_text(content)
        _stand_in_for_the_load_balancer(
            lab, tmp_path, {Architecture.X86_64: x86_64.address, Architecture.ARM64: arm64.address}
        )
        for command in BUILDX_COMMANDS:
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
        keys = {request.key for request in lab.cache_requests(architecture) if request.method == "PUT"}
        assert "main/manifests/app/main" in keys


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


def _stand_in_for_the_load_balancer(lab: Lab, directory: Path, builders: dict[Architecture, str]) -> None:
    # The sandbox's own: its name service, its address translation. The machine's are untouched.
    hosts = directory / "hosts"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n{FLEET_ADDRESS} {lab.deployment.domain_name('main')}\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    for architecture, address in builders.items():
        rule = f"OUTPUT --destination {FLEET_ADDRESS} --protocol tcp --dport {architecture.port}"
        jump = f"--jump DNAT --to-destination {address}:{BUILDKIT_PORT}"
        subprocess.run(f"iptables --table nat --append {rule} {jump}".split(), check=True)
