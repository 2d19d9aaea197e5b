"""Run a command in namespaces of its own, so that nothing of it outlives it: `python -m local.sandbox COMMAND ...`.

The command is the child of the first process of a new PID namespace: when it ends, however it ends, the kernel kills
every process that it left. Its network namespace has loopback, an uplink through slirp4netns (user mode: no address,
route, sysctl or firewall rule of the machine changes) and, in FORWARD and NAT, whatever it adds itself. Mounts are
private too.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from local.first_process import run_as_first_process

UPLINK = "tap0"
DNS_SERVER = "10.0.2.3"
"""Where slirp4netns answers DNS."""

MARKER = "CDK_BUILDKIT_SANDBOX"
"""The environment variable by which a process of a sandbox is known."""

_PROGRAMS = {"unshare": "util-linux", "slirp4netns": "slirp4netns", "ip": "iproute2", "mount": "mount"}
_PATIENCE_SECONDS = 10
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class SandboxError(Exception):
    """The machine cannot run a sandbox; the message says what is missing and how to get it."""


def main() -> None:
    """Run the command line's command, and exit as it does."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--first-process"]:
        sys.exit(_be_first_process(int(arguments[1]), arguments[2:]))
    if not arguments:
        sys.exit("usage: python -m local.sandbox COMMAND [ARGUMENT ...]")
    try:
        sys.exit(run_in_sandbox(arguments))
    except SandboxError as error:
        sys.exit(str(error))


def run_in_sandbox(command: Sequence[str]) -> int:
    """Run a command in a new sandbox and return its exit code; 1 if something of it still runs.

    SIGINT, SIGTERM and SIGHUP reach the command. If it has not ended ten seconds later, it is killed, which loses
    nothing: the kernel cleans up. The exit code is then 128 and the signal's number, as a shell gives it.

    Raises:
        SandboxError: This is not Linux, not root, or a program is missing.
    """
    _check_machine()
    cgroups_before = _buildkit_cgroups()
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARKER: mark}
    go_read, go_write = os.pipe()
    namespaces = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    first_process = [sys.executable, "-m", "local.sandbox", "--first-process", str(go_read), *command]
    inner = subprocess.Popen(
        ["unshare", *namespaces, *first_process],
        env=environment,
        pass_fds=[go_read],
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads here yet
    )
    os.close(go_read)
    uplink = _connect_uplink(inner, environment)
    try:
        with os.fdopen(go_write, "wb") as go:
            go.write(b"go")
        exit_code = _wait(inner)
    finally:
        inner.kill()
        inner.wait()
        uplink.terminate()
        uplink.wait()
    leftovers = _processes_of(mark)
    _remove_cgroups(_buildkit_cgroups() - cgroups_before)
    if leftovers:
        print(f"left behind: {', '.join(leftovers)}", file=sys.stderr)
        return exit_code or 1
    return exit_code


def in_sandbox() -> bool:
    """Tell whether this process runs in a sandbox."""
    return MARKER in os.environ


def _check_machine() -> None:
    if not sys.platform.startswith("linux"):
        raise SandboxError(f"real builders need Linux namespaces; this is {sys.platform}: use a Linux machine or VM")
    if os.geteuid() != 0:
        raise SandboxError(
            "root is needed, because BuildKit's worker mounts file systems and makes network namespaces, as it does "
            "on an EC2 builder; run it again with `sudo --preserve-env=PATH`. Nothing on the machine is changed."
        )
    missing = [package for program, package in _PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise SandboxError(f"programs are missing; on Debian: apt-get install {' '.join(missing)}")
    if not Path("/dev/net/tun").exists():
        raise SandboxError("/dev/net/tun is missing: load the kernel module with `modprobe tun`")


def _connect_uplink(inner: subprocess.Popen[bytes], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # The namespaces belong to unshare's child, which the kernel lists once it is there.
    children = Path(f"/proc/{inner.pid}/task/{inner.pid}/children")
    while not (child := children.read_text().strip()):
        if inner.poll() is not None:
            raise SandboxError(f"no namespaces can be made here: unshare ended with exit code {inner.returncode}")
    ready_read, ready_write = os.pipe()
    uplink = subprocess.Popen(
        [
            *("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback"),
            *(f"--ready-fd={ready_write}", child, UPLINK),
        ],
        env=environment,
        pass_fds=[ready_write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the command; the uplink is needed until it has ended
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads here yet
    )
    os.close(ready_write)
    with os.fdopen(ready_read, "rb") as ready:
        if not ready.read(1):
            _, words = uplink.communicate()
            inner.kill()
            raise SandboxError(f"slirp4netns cannot connect the sandbox: {words.decode().strip()}")
    return uplink


def _wait(inner: subprocess.Popen[bytes]) -> int:
    received: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.alarm(_PATIENCE_SECONDS)
        if number != signal.SIGINT:  # which reaches the command from the terminal by itself
            with suppress(ProcessLookupError):
                first = Path(f"/proc/{inner.pid}/task/{inner.pid}/children").read_text().strip()
                if first:
                    os.kill(int(first), number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, lambda *_: inner.kill())
    exit_code = inner.wait()
    signal.alarm(0)
    if received:
        return 128 + received[0]
    return exit_code if exit_code >= 0 else 128 - exit_code


def _be_first_process(go: int, command: Sequence[str]) -> int:
    with os.fdopen(go, "rb") as ready:
        if not ready.read():
            return 1
    for line in (
        "mount --make-rprivate /",
        "mount -t tmpfs tmpfs /mnt",
        "ip link set lo up",
    ):
        subprocess.run(line.split(), check=True)
    # A file that is on no disk: the bind mount keeps it when its file system is out of sight again.
    resolver = Path("/mnt/resolv.conf")
    resolver.write_text(f"nameserver {DNS_SERVER}\n")
    subprocess.run(["mount", "--bind", str(resolver), str(Path("/etc/resolv.conf").resolve())], check=True)
    subprocess.run(["umount", "--lazy", "/mnt"], check=True)
    return run_as_first_process(command)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _processes_of(mark: str) -> list[str]:
    # The kernel has killed them all; some take a moment to go.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{MARKER}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(f"process {process.name} ({(process / 'comm').read_text().strip()})")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _buildkit_cgroups() -> set[Path]:
    # BuildKit's default parent and the pods', in the unified hierarchy and in each of the old ones.
    root = Path("/sys/fs/cgroup")
    return {path for name in ("buildkit", "cdk-buildkit-pods") for path in (*root.glob(name), *root.glob(f"*/{name}"))}


def _remove_cgroups(parents: set[Path]) -> None:
    # A build step that was killed leaves its control group, empty. Those of another sandbox are in use, and stay.
    for parent in parents:
        for group in (*sorted((path for path in parent.rglob("*") if path.is_dir()), reverse=True), parent):
            with suppress(OSError):
                group.rmdir()


if __name__ == "__main__":
    main()
