"""Builds that want into their builder's host: its network, its daemon, its files, its processes."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.builder import Builder
from local.client import BuildError
from local.lab import Lab
from local.toolchain import Toolchain
from tests.attacker import (
    BUILDKIT_PORT,
    METADATA,
    STEPS_GATEWAY,
    Attacker,
    first_process,
    inside,
    let_through,
    served,
    until_answered,
)

pytest_plugins = ["tests.attack_fixtures"]

DEBUG_PORT = "6060"
HEALTH_PORT = "1236"
LOOPBACK_PORT = "8099"


@pytest.fixture(params=["127.0.0.1", STEPS_GATEWAY, "the host's own address"])
def host_address(request: pytest.FixtureRequest, builder: Builder) -> str:
    name: str = request.param
    return builder.address if name.startswith("the") else name


@pytest.mark.parametrize("port", [DEBUG_PORT, LOOPBACK_PORT], ids=["debug port", "another service"])
def test_a_step_does_not_reach_the_hosts_loopback(
    attacker: Attacker, builder: Builder, on_builder: Callable[..., str], host_address: str, port: str
) -> None:
    with served(builder, "127.0.0.1", LOOPBACK_PORT):
        assert until_answered(lambda: on_builder("connect", "127.0.0.1", LOOPBACK_PORT), "connected") == "connected"

        got = attacker.run("connect", host_address, port)

    assert got.startswith(("ConnectionRefusedError", "TimeoutError"))


@pytest.mark.parametrize("host_address", [STEPS_GATEWAY, "the host's own address"], indirect=True)
def test_a_step_does_not_reach_what_the_host_serves_to_others(
    attacker: Attacker, builder: Builder, on_builder: Callable[..., str], host_address: str
) -> None:
    with served(builder, "0.0.0.0", LOOPBACK_PORT):  # noqa: S104 - in the builder's namespace
        assert until_answered(lambda: on_builder("connect", host_address, LOOPBACK_PORT), "connected") == "connected"

        assert attacker.run("connect", host_address, LOOPBACK_PORT).startswith("TimeoutError")


def test_without_the_rule_a_step_would_reach_what_the_host_serves_to_others(
    attacker: Attacker, builder: Builder, on_builder: Callable[..., str]
) -> None:
    with (
        served(builder, "0.0.0.0", LOOPBACK_PORT),  # noqa: S104 - in the builder's namespace
        let_through(builder, "filter", "INPUT", "--in-interface", "buildkit0"),
        let_through(builder, "filter", "OUTPUT", "--out-interface", "buildkit0"),
    ):
        assert until_answered(lambda: on_builder("connect", "127.0.0.1", LOOPBACK_PORT), "connected") == "connected"

        assert (
            until_answered(lambda: attacker.run("connect", builder.address, LOOPBACK_PORT), "connected") == "connected"
        )


@pytest.mark.usefixtures("raw_sockets")
def test_a_forged_frame_for_the_hosts_loopback_would_be_dropped(attacker: Attacker) -> None:
    assert attacker.run("forge", "127.0.0.1") == "silence"


@pytest.mark.parametrize("path", ["debug/pprof/cmdline", "debug/cache/all", "metrics"])
def test_the_daemon_cannot_be_sent_to_its_own_debug_address(attacker: Attacker, path: str) -> None:
    with pytest.raises(BuildError, match="connection refused"):
        attacker.build(f"FROM scratch\nADD http://127.0.0.1:{DEBUG_PORT}/{path} /got\n")


def test_the_host_itself_reads_metrics_at_the_debug_address(builder: Builder) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/proc/{first_process(builder)}/root/run/buildkit/debug.sock")
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert b"buildkit_builds_total" in answer


def test_the_daemon_can_be_sent_to_whatever_else_listens_on_loopback(
    attacker: Attacker, builder: Builder, on_builder: Callable[..., str]
) -> None:
    with served(builder, "127.0.0.1", LOOPBACK_PORT):
        assert until_answered(lambda: on_builder("connect", "127.0.0.1", LOOPBACK_PORT), "connected") == "connected"

        assert "Directory listing" in attacker.build(f"FROM scratch\nADD http://127.0.0.1:{LOOPBACK_PORT}/ /got\n")


def test_so_nothing_else_listens(builder: Builder) -> None:
    listed = subprocess.run(
        [*inside(builder), "ss", "--listening", "--tcp", "--numeric", "--no-header"],
        capture_output=True,
        text=True,
        check=True,
    )

    addresses = {line.split()[3] for line in listed.stdout.splitlines()}
    assert addresses == {
        f"*:{BUILDKIT_PORT}",
        f"0.0.0.0:{HEALTH_PORT}",
        f"{METADATA}:80",
    }  # the last is not an instance's own


@pytest.mark.parametrize("host_address", [STEPS_GATEWAY, "the host's own address"], indirect=True)
def test_a_step_does_not_reach_the_agent(attacker: Attacker, on_builder: Callable[..., str], host_address: str) -> None:
    assert until_answered(lambda: on_builder("connect", host_address, HEALTH_PORT), "connected") == "connected"

    assert attacker.run("connect", host_address, HEALTH_PORT).startswith("TimeoutError")


@pytest.mark.parametrize("host_address", ["127.0.0.1", "the host's own address"], indirect=True)
def test_the_agent_tells_the_daemon_nothing(attacker: Attacker, host_address: str) -> None:
    with pytest.raises(BuildError, match="403"):
        attacker.build(f"FROM scratch\nADD http://{host_address}:{HEALTH_PORT}/health /got\n")


@pytest.fixture
def own_certificate(lab: Lab, tmp_path: Path) -> list[str]:
    """The files of a client's certificate and key."""
    secret = lab.deployment.client_certificate("main")
    paths = [tmp_path / name for name in ("tls.crt", "tls.key")]
    for path in paths:
        path.write_text(secret[path.name])
    return [str(path) for path in paths]


def test_a_client_with_a_certificate_is_answered(on_builder: Callable[..., str], own_certificate: list[str]) -> None:
    assert on_builder("speak_tls", "127.0.0.1", BUILDKIT_PORT, *own_certificate).endswith(" bytes")


@pytest.mark.parametrize("address", [STEPS_GATEWAY, "the host's own address"])
def test_a_step_without_a_certificate_is_no_client_of_its_own_builder(
    attacker: Attacker, builder: Builder, address: str
) -> None:
    got = attacker.run("speak_tls", builder.address if address.startswith("the") else address, BUILDKIT_PORT)

    assert got.startswith(("SSLError", "TimeoutError"))


def test_a_step_without_a_certificate_is_no_client_of_another_builder(
    other_attacker: Attacker, builder: Builder
) -> None:
    got = other_attacker.run("speak_tls", builder.address, BUILDKIT_PORT)

    assert "CERTIFICATE_REQUIRED" in got


@pytest.mark.parametrize("port", [DEBUG_PORT, "80"], ids=["debug port", "HTTP"])
def test_another_builder_has_no_other_open_port(other_attacker: Attacker, builder: Builder, port: str) -> None:
    assert other_attacker.run("connect", builder.address, port).startswith("ConnectionRefusedError")


def test_a_step_finds_neither_the_daemons_socket_nor_its_key(attacker: Attacker, builder: Builder) -> None:
    root = Path(f"/proc/{first_process(builder)}/root")
    assert (root / "run/buildkit/buildkitd.sock").is_socket()
    assert (root / "run/buildkit-tls/tls.key").is_file()

    assert attacker.run("find", "buildkitd.sock", "tls.key", "PRIVATE KEY") == ""


def test_a_step_sees_no_socket_but_the_one_for_traces(attacker: Attacker) -> None:
    assert attacker.run("sockets") == "/dev/otel-grpc.sock"


def test_the_socket_for_traces_does_not_control_the_daemon(
    attacker: Attacker, toolchain: Toolchain, tmp_path: Path
) -> None:
    shutil.copy(toolchain.bin_directory / "buildctl", tmp_path)

    got = attacker.run(
        *("run", "/tools/buildctl", "--timeout=1", "--addr", "unix:///dev/otel-grpc.sock", "debug", "workers"),
        options="--mount=type=bind,from=tools,target=/tools",
        arguments=["--build-context", f"tools={tmp_path}"],
    )

    assert "unknown service moby.buildkit.v1.Control" in got


def test_a_step_sees_no_process_but_its_own(attacker: Attacker) -> None:
    assert attacker.run("processes") == "1"


@pytest.fixture
def link_local_address(builder: Builder, on_builder: Callable[..., str]) -> Iterator[str]:
    """The host's address on the steps' bridge, at which it serves."""
    show = [*inside(builder), "ip", "-json", "-6", "address", "show", "dev", "buildkit0"]
    shown = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
    with served(builder, "::", LOOPBACK_PORT):
        assert until_answered(lambda: on_builder("connect", "::1", LOOPBACK_PORT), "connected") == "connected"
        yield str(shown[0]["addr_info"][0]["local"])


def test_a_step_does_not_reach_its_host_over_ipv6(attacker: Attacker, link_local_address: str) -> None:
    assert attacker.run("connect", link_local_address, LOOPBACK_PORT).startswith("TimeoutError")


def test_without_the_rule_a_step_would_reach_its_host_over_ipv6(
    attacker: Attacker, builder: Builder, link_local_address: str
) -> None:
    with let_through(builder, "raw", "PREROUTING", "--in-interface", "buildkit0", program="ip6tables"):
        assert attacker.run("connect", link_local_address, LOOPBACK_PORT) == "connected"


@pytest.mark.parametrize("source", ["/run/buildkit-tls", "../../../../../../../run/buildkit-tls", "link"])
@pytest.mark.parametrize("instruction", ["RUN --mount=type=bind,source={},target=/m true", "COPY {} /got"])
def test_a_build_context_does_not_lead_to_the_hosts_files(attacker: Attacker, instruction: str, source: str) -> None:
    with pytest.raises(BuildError, match=r'"/(run/buildkit-tls|link)": not found'):
        attacker.build(f"FROM attacker\n{instruction.format(source)}\n")


def test_a_cache_mount_does_not_lead_to_the_hosts_files(attacker: Attacker) -> None:
    options = "--mount=type=cache,id=up,source=../../../../../../..,target=/cache"

    got = attacker.run("read", "/cache/run/buildkit-tls/tls.key", options=options)

    assert got.startswith("FileNotFoundError")


def test_a_link_in_a_cache_mount_does_not_lead_to_the_hosts_files(attacker: Attacker) -> None:
    link = json.dumps(["python3", "-c", "import os; os.symlink('/run/buildkit-tls', '/cache/link')"])

    with pytest.raises(BuildError, match=r"/var/lib/buildkit/.*/run/buildkit-tls: no such file or directory"):
        attacker.run(
            *("read", "/cache/tls.key"),
            first=f"RUN --mount=type=cache,id=link,target=/cache {link}",
            options="--mount=type=cache,id=link,source=link,target=/cache",
        )
