"""Builds that want more than a RUN step has: devices, mounts, namespaces, settings, entitlements."""

import hashlib
import re
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
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


DEVICES = {
    "loop": ("device", "block", "7", "0"),
    "nvme": ("device", "block", "259", "0"),
    "mem": ("device", "character", "1", "1"),
    "kmsg": ("device", "character", "1", "11"),
}
NULL_DEVICE = ("device", "character", "1", "3")
MOUNTS = {
    "proc": ("mount", "proc", "proc"),
    "sysfs": ("mount", "sysfs", "sysfs"),
    "tmpfs": ("mount", "tmpfs", "tmpfs"),
    "cgroup": ("mount", "cgroup", "cgroup"),
    "bind": ("mount", "bind", "/proc"),
}
NAMESPACES = {
    "user": ("unshare", "10000000"),
    "mount": ("unshare", "00020000"),
    "network": ("unshare", "40000000"),
}
SOCKETS = {
    "packet": ("open_socket", "AF_PACKET", "2", "0"),
    "raw packet": ("open_socket", "AF_PACKET", "3", "0"),
    "raw": ("open_socket", "AF_INET", "3", "1"),
    "obsolete packet": ("open_socket", "AF_INET", "10", "0"),
    "vsock": ("open_socket", "AF_VSOCK", "1", "0"),
}
REFUSED: dict[str, tuple[str, ...]] = {
    **{f"device {name}": attempt for name, attempt in DEVICES.items()},
    **{f"mount {name}": attempt for name, attempt in MOUNTS.items()},
    **{f"namespace {name}": attempt for name, attempt in NAMESPACES.items()},
    **{f"system call {name}": ("system_call", name) for name in SYSTEM_CALLS},
    **{f"socket {name}": attempt for name, attempt in SOCKETS.items()},
}
SETTINGS = {
    path: ("write", path, "x")
    for path in (
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/sys/class/net/lo/mtu",
        "/sys/kernel/uevent_helper",
    )
}
TREES = {top: ("writable", top) for top in ("/proc/sys", "/proc/irq", "/sys")}
MEMORY = {path: ("read", path) for path in ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list")}
PRIVILEGES = ("privileges",)
OOM_SCORE_ADJUSTMENT = ("read", "/proc/self/oom_score_adj")
PROCESS_LIMITS = [("read", "/sys/fs/cgroup/pids.max"), ("read", "/sys/fs/cgroup/pids/pids.max")]

Got = Mapping[tuple[str, ...], str]


@pytest.fixture(scope="module")
def got(attacker: Attacker) -> Got:
    """What one step got that tried all of them."""
    attempts = [each for group in (REFUSED, SETTINGS, TREES, MEMORY) for each in group.values()]
    return attacker.run_all([PRIVILEGES, OOM_SCORE_ADJUSTMENT, *PROCESS_LIMITS, NULL_DEVICE, *attempts])


def test_a_step_has_none_of_the_capabilities_that_change_the_host(got: Got) -> None:
    lines = dict(word.split(":") for word in got[PRIVILEGES].split())

    for capabilities in (lines["CapEff"], lines["CapBnd"]):
        assert [name for name, bit in FORBIDDEN_CAPABILITIES.items() if int(capabilities, 16) >> bit & 1] == []
    assert lines["Seccomp"] == "2"  # a filter


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_is_refused_a(got: Got, name: str) -> None:
    assert got[REFUSED[name]].startswith("PermissionError")


def test_a_step_can_open_the_null_device(got: Got) -> None:
    assert got[NULL_DEVICE] == "opened"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_cannot_change_the_kernels_setting(got: Got, name: str) -> None:
    assert re.search("Read-only file system|No such file", got[SETTINGS[name]])


@pytest.mark.parametrize("name", TREES)
def test_a_step_can_write_to_nothing_below(got: Got, name: str) -> None:
    assert got[TREES[name]] == ""


@pytest.mark.parametrize("name", MEMORY)
def test_a_step_reads_nothing_of_the_kernels_memory(got: Got, name: str) -> None:
    read = got[MEMORY[name]]

    assert read == "" or read.startswith(("FileNotFoundError", "PermissionError"))


def test_a_fork_bomb_ends_before_the_builders_last_process_id(got: Got) -> None:
    # The one path or the other, as the kernel is set up.
    assert f"{step_runtime.MOST_PROCESSES}\n" in [got[each] for each in PROCESS_LIMITS]


def test_a_step_that_eats_the_memory_goes_before_the_daemon(got: Got, builder: Builder) -> None:
    daemon = subprocess.run(
        [*inside(builder), "--pid", "--mount", "sh", "-c", "cat /proc/$(pidof buildkitd)/oom_score_adj"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(daemon.stdout) < int(got[OOM_SCORE_ADJUSTMENT])


REQUESTS: dict[str, tuple[str, list[str]]] = {
    "network": ("--network=host", []),
    "security": ("--security=insecure", []),
    "network, allowed by the client": ("--network=host", ["--allow=network.host"]),
    "security, allowed by the client": ("--security=insecure", ["--allow=security.insecure"]),
}


@pytest.fixture(scope="module")
def requests(attacker: Attacker) -> Mapping[str, Future[str]]:
    """Builds that ask for more, all at once: buildx takes five seconds to say that one is refused."""
    with ThreadPoolExecutor() as threads:
        return {
            name: threads.submit(attacker.run, "processes", options=options, arguments=arguments)
            for name, (options, arguments) in REQUESTS.items()
        }


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_for_more_is_refused(requests: Mapping[str, Future[str]], name: str) -> None:
    with pytest.raises(BuildError, match=r"(network\.host|security\.insecure) is not allowed"):
        requests[name].result()


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
