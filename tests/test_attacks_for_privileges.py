"""Builds that want more than a RUN step has: devices, mounts, namespaces, settings, entitlements."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cdk_buildkit.host import step_runtime
from local.builder import Builder
from local.client import BuildError
from local.lab import Lab
from tests.attack_probe import SYSTEM_CALLS
from tests.attacker import BUILDKIT_PORT, Attacker, inside

pytest_plugins = ["tests.attack_fixtures"]

CERTIFICATE_FILES = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
FORBIDDEN_CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
    "CAP_BPF": 39,
}


def test_a_step_has_none_of_the_capabilities_that_change_the_host(attacker: Attacker) -> None:
    lines = dict(word.split(":") for word in attacker.run("privileges").split())

    for capabilities in (lines["CapEff"], lines["CapBnd"]):
        assert [name for name, bit in FORBIDDEN_CAPABILITIES.items() if int(capabilities, 16) >> bit & 1] == []
    assert lines["Seccomp"] == "2"  # a filter


@pytest.mark.parametrize(
    "device",
    [("block", "7", "0"), ("block", "259", "0"), ("character", "1", "1"), ("character", "1", "11")],
    ids=["loop", "nvme", "mem", "kmsg"],
)
def test_a_step_cannot_open_a_device_that_it_makes(attacker: Attacker, device: tuple[str, str, str]) -> None:
    assert attacker.run("device", *device).startswith("PermissionError")


def test_a_step_can_open_the_null_device(attacker: Attacker) -> None:
    assert attacker.run("device", "character", "1", "3") == "opened"


@pytest.mark.parametrize(
    "what", [("proc", "proc"), ("sysfs", "sysfs"), ("tmpfs", "tmpfs"), ("cgroup", "cgroup"), ("bind", "/proc")]
)
def test_a_step_cannot_mount(attacker: Attacker, what: tuple[str, str]) -> None:
    assert attacker.run("mount", *what).startswith("PermissionError")


@pytest.mark.parametrize("flags", ["10000000", "00020000", "40000000"], ids=["user", "mount", "network"])
def test_a_step_cannot_make_namespaces(attacker: Attacker, flags: str) -> None:
    assert attacker.run("unshare", flags).startswith("PermissionError")


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/sys/class/net/lo/mtu",
        "/sys/kernel/uevent_helper",
    ],
)
def test_a_step_cannot_change_the_kernels_settings(attacker: Attacker, path: str) -> None:
    assert re.search("Read-only file system|No such file", attacker.run("write", path, "x"))


@pytest.mark.parametrize("top", ["/proc/sys", "/proc/irq", "/sys"])
def test_a_step_can_write_to_nothing_below(attacker: Attacker, top: str) -> None:
    assert attacker.run("writable", top) == ""


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"])
def test_a_step_reads_nothing_of_the_kernels_memory(attacker: Attacker, path: str) -> None:
    got = attacker.run("read", path)

    assert got == "" or got.startswith(("FileNotFoundError", "PermissionError"))


@pytest.mark.parametrize("name", SYSTEM_CALLS)
def test_a_step_cannot_make_a_system_call(attacker: Attacker, name: str) -> None:
    assert attacker.run("system_call", name).startswith("PermissionError")


@pytest.mark.parametrize(
    "what",
    [
        ("AF_PACKET", "2", "0"),
        ("AF_PACKET", "3", "0"),
        ("AF_INET", "3", "1"),
        ("AF_INET", "10", "0"),
        ("AF_VSOCK", "1", "0"),
    ],
    ids=["packet", "raw packet", "raw", "obsolete packet", "vsock"],
)
def test_a_step_cannot_open_a_socket(attacker: Attacker, what: tuple[str, str, str]) -> None:
    assert attacker.run("open_socket", *what).startswith("PermissionError")


def test_a_fork_bomb_ends_before_the_builders_last_process_id(attacker: Attacker) -> None:
    limits = [attacker.run("read", path) for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max")]

    assert f"{step_runtime.MOST_PROCESSES}\n" in limits  # the one path or the other, as the kernel is set up


def test_a_step_that_eats_the_memory_goes_before_the_daemon(attacker: Attacker, builder: Builder) -> None:
    daemon = subprocess.run(
        [*inside(builder), "--pid", "--mount", "sh", "-c", "cat /proc/$(pidof buildkitd)/oom_score_adj"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(daemon.stdout) < int(attacker.run("read", "/proc/self/oom_score_adj"))


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("--network=host", []),
        ("--security=insecure", []),
        ("--network=host", ["--allow=network.host"]),
        ("--security=insecure", ["--allow=security.insecure"]),
    ],
    ids=["network", "security", "network, allowed by the client", "security, allowed by the client"],
)
def test_a_request_for_more_is_refused(attacker: Attacker, options: str, arguments: list[str]) -> None:
    with pytest.raises(BuildError, match=r"(network\.host|security\.insecure) is not allowed"):
        attacker.run("processes", options=options, arguments=arguments)


@pytest.fixture
def build_definition(lab: Lab, builder: Builder, tmp_path: Path) -> Callable[..., str]:
    """Send a build definition to the daemon, which must refuse it, and return its words."""
    for name, text in lab.deployment.client_certificate("main").items():
        (tmp_path / name).write_text(text)
    connection = [
        f"--addr=tcp://{builder.address}:{BUILDKIT_PORT}",
        f"--tlsservername={lab.deployment.domain_name('main')}",
        *(f"--tls{option}={tmp_path / name}" for option, name in CERTIFICATE_FILES.items()),
    ]

    def build_definition(content: bytes, *arguments: str) -> str:
        built = subprocess.run(
            ["buildctl", *connection, "build", *arguments], input=content, capture_output=True, check=False
        )
        assert built.returncode != 0
        return built.stderr.decode()

    return build_definition


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (3, 1, "network.host is not allowed"),
        (4, 1, "security.insecure is not allowed"),
        (6, b"\x0a\x0avendor/x=y", 'required device "vendor/x=y" is not registered'),
        (3, 0, "no such file or directory"),  # nothing is wrong with it, but that there is no program
    ],
    ids=["the host's network", "no confinement", "a device", "nothing more"],
)
def test_a_definition_that_no_frontend_has_seen_gets_no_more(
    build_definition: Callable[..., str], field: int, value: int | bytes, words: str
) -> None:
    assert words in build_definition(definition(field, value))


def test_a_client_cannot_grant_what_the_daemon_does_not(build_definition: Callable[..., str]) -> None:
    words = build_definition(definition(3, 0), "--allow=security.insecure")

    assert "granting entitlement security.insecure is not allowed by build daemon configuration" in words


def definition(field: int, value: int | bytes) -> bytes:
    """A build definition of one step that runs `/x`, with one more field of BuildKit's ExecOp, in protobuf.

    https://github.com/moby/buildkit/blob/v0.31.2/solver/pb/ops.proto
    """
    scratch = b"\x08" + b"\xff" * 9 + b"\x01"  # Mount.input = -1
    step = message(1, message(1, b"/x") + message(3, b"/"))  # ExecOp.meta: args, cwd
    step += message(2, scratch + message(3, b"/"))  # ExecOp.mounts: dest
    step += message(field, value) if isinstance(value, bytes) else bytes([field << 3, value])
    operation = message(2, step)
    result = message(1, message(1, f"sha256:{hashlib.sha256(operation).hexdigest()}".encode()))  # Op.inputs: digest
    return message(1, operation) + message(1, result)


def message(field: int, content: bytes) -> bytes:
    """A field of protobuf with a length."""
    size = len(content)
    return bytes([field << 3 | 2, *([size] if size < 128 else [size & 127 | 128, size >> 7])]) + content
