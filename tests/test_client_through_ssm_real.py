"""A client outside the VPC: real builds on a real builder through a forwarded port, with mutual TLS as ever.

Nothing here leads to the builder by the fleet's name. Session Manager's plugin is a stand-in that is called as the AWS
CLI calls the real one, and does the forwarding itself.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local.emulator.aws import REGION, Aws
from local.lab import ARCHITECTURE, Lab
from local.rehearsal import FLEET
from tests import session_manager_plugin
from tests.client_machine import OWN, STACK, TOOL, Machine

CONNECT = ("connect", STACK, f"--architecture={ARCHITECTURE}", "--through-ssm", *OWN)


class Laptop(Machine):
    """A machine outside the VPC, with the plugin."""

    def __init__(self, lab: Lab, directory: Path, base_image: list[str]) -> None:
        super().__init__(lab, directory, base_image)
        self.connection: Any = None
        self.plugin = directory / "bin"
        self.plugin.mkdir()
        program = self.plugin / "session-manager-plugin"
        shutil.copy(session_manager_plugin.__file__, program)
        program.chmod(0o755)
        self.set_version("1.2.764.0")
        self._environment["PATH"] = f"{self.plugin}:{os.environ['PATH']}"

    def set_version(self, version: str) -> None:
        (self.plugin / "version").write_text(version)

    def let_instances_be_at(self, address: str) -> None:
        instances = self.lab.deployment.group(FLEET, ARCHITECTURE)["Instances"]
        (self.plugin / "instances").write_text(json.dumps({each["InstanceId"]: address for each in instances}))

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.plugin / "calls").read_text().splitlines()]


def runs(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.fixture(scope="module")
def laptop(lab: Lab, tmp_path_factory: pytest.TempPathFactory, busybox_arguments: list[str]) -> Iterator[Laptop]:
    """Connect a laptop to a fleet with one builder."""
    laptop = Laptop(lab, tmp_path_factory.mktemp("laptop"), busybox_arguments)
    Aws(lab.emulator.endpoint_url).client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=lab.deployment.group_name(FLEET, ARCHITECTURE), DesiredCapacity=1
    )
    with lab.builder(FLEET) as builder:
        laptop.let_instances_be_at(builder.address)
        laptop.connection = laptop.tool(*CONNECT)
        yield laptop


def test_the_plugin_is_called_as_the_aws_cli_calls_it(laptop: Laptop) -> None:
    (call,) = laptop.calls[:1]
    port = laptop.connection["nodes"][ARCHITECTURE]["endpoint"].removeprefix("tcp://127.0.0.1:")

    assert call["variable"] == "AWS_SSM_START_SESSION_RESPONSE"
    assert (call["region"], call["operation"], call["profile"]) == (REGION, "StartSession", "client")
    assert call["endpoint"] == laptop.lab.emulator.endpoint_url
    assert sorted(call["response"]) == ["SessionId", "StreamUrl", "TokenValue"]
    assert call["request"]["DocumentName"] == "AWS-StartPortForwardingSession"
    assert call["request"]["Parameters"] == {"portNumber": ["1234"], "localPortNumber": [port]}


def test_a_build_runs_through_the_forwarded_port_with_the_fleets_cache(laptop: Laptop) -> None:
    assert laptop.connection["nodes"][ARCHITECTURE]["buildkit"] == "v0.31.2"
    assert "exporting cache to Amazon S3" in laptop.build(laptop.flags("laptop")["arguments"])


def test_a_forwarder_that_is_gone_comes_back_on_its_port_with_the_next_retry(laptop: Laptop) -> None:
    before = laptop.calls[-1]
    os.kill(before["process"], 9)

    done = laptop.run(TOOL, "retry", "--", *laptop.build_command("RUN echo back", arguments=[]))

    after = laptop.calls[-1]
    assert done.returncode == 0, done.stderr
    assert "cdk-buildkit: the builder was lost (ERROR: failed to build: context deadline exceeded)" in done.stderr
    assert after["request"]["Parameters"] == before["request"]["Parameters"]
    assert after["process"] != before["process"]


def test_disconnecting_ends_exactly_the_forwarder_and_its_session(laptop: Laptop) -> None:
    process = laptop.calls[-1]["process"]
    assert runs(process)

    assert laptop.tool("disconnect") == {"disconnected": "fleet"}

    assert not runs(process)
    assert list((laptop.directory / "state" / "cdk-buildkit").iterdir()) == []


def test_what_does_not_come_up_leaves_neither_a_process_nor_a_connection(laptop: Laptop) -> None:
    laptop.set_version("1.2.497.0")
    old = laptop.run(TOOL, *CONNECT)
    laptop.set_version("1.2.764.0")
    both = laptop.run(TOOL, *CONNECT, "--in-cluster")
    gone = laptop.run(TOOL, *CONNECT, PATH=os.environ["PATH"])

    assert (old.returncode, gone.returncode, both.returncode) == (6, 6, 2)
    assert "takes the session's token on its command line; install the newest" in old.stderr
    assert "session-manager-plugin does not serve here: No such file or directory" in gone.stderr
    assert "got --in-cluster: leave that out" in both.stderr
    assert list((laptop.directory / "state" / "cdk-buildkit").iterdir()) == []
