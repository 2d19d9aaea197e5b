"""A builder's boots, on real builders: what serves afterwards, what a reboot keeps, and what becomes of one that fails.

Run in a sandbox: `python -m local.sandbox pytest tests/test_builder_boot.py`.
"""

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.builder import Builder, BuilderError
from local.lab import ARCHITECTURE, Lab
from local.mutual_tls import client_context, serves
from local.rehearsal import FLEET, Fleet, wait_for_event
from local.sandbox import UPLINK
from local.vpc import GATEWAY

QUICK = {"SETTLING_SECONDS": "2", "HEARTBEAT_SECONDS": "2"}
PORT = 1234
GIT_PORT = 9418
AUTHOR = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
VOLUME_BYTES = 600 * 1024 * 1024
UNITS = Path("/etc/systemd/system")

_ports = itertools.count(1501)


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder(FLEET) as builder:
        yield builder


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Fleet]:
    with Fleet(lab, next(_ports), environment=QUICK) as fleet:
        yield fleet


@pytest.fixture
def context(tmp_path: Path, busybox_arguments: list[str]) -> Path:
    assert busybox_arguments
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN echo {tmp_path.name} >/built\n")
    return tmp_path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A new volume for a store."""
    volume = tmp_path / "volume"
    with volume.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    return volume


@contextmanager
def git_daemon(directory: Path) -> Iterator[str]:
    """Serve the repositories of a directory, and yield the address at which builders reach them."""
    options = [f"--listen={GATEWAY}", f"--port={GIT_PORT}", f"--base-path={directory}", "--export-all", "--reuseaddr"]
    daemon = subprocess.Popen(["git", "daemon", *options])
    try:
        yield f"{GATEWAY}:{GIT_PORT}"
    finally:
        daemon.terminate()
        daemon.wait()


def answers(lab: Lab, builder: Builder, *, show: bool = True) -> bool:
    """Tell whether a builder serves a client, with its certificate or without."""
    certificate = client_context(lab.deployment.client_certificate(FLEET), show=show)
    return serves(builder.address, PORT, lab.deployment.domain_name(FLEET), certificate)


def hook_answers(fleet: Fleet) -> list[tuple[str, str, str]]:
    return [(call.action, call.hook, call.result) for call in fleet.group.calls]


def wait_for_call(fleet: Fleet, action: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while action not in {call.action for call in fleet.group.calls}:
        assert time.monotonic() < until, f"no {action} in {seconds} s: {fleet.group.calls}"
        time.sleep(0.1)


def test_the_daemon_is_the_units_own_command_line_and_answers_with_mutual_tls(lab: Lab, builder: Builder) -> None:
    (line,) = re.findall("^ExecStart=(.*)$", builder.run("cat", str(UNITS / "buildkitd.service")).stdout, re.MULTILINE)

    line = line.replace("${MAX_PARALLELISM}", "0")  # no limit by default
    assert builder.run("pgrep", "--full", "--exact", line).returncode == 0
    assert answers(lab, builder)
    assert not answers(lab, builder, show=False)


def test_the_units_are_verified_where_the_bootstrap_puts_them(builder: Builder) -> None:
    verified = builder.run("sh", "-c", f"systemd-analyze verify --man=no {UNITS}/*.service")

    assert (verified.returncode, verified.stdout) == (0, "")


def test_the_verification_would_find_a_fault(builder: Builder) -> None:
    builder.run("sh", "-c", "printf '[Service]\nExecStart=/nowhere\nRestrat=always\n' >/tmp/faulty.service")

    verified = builder.run("systemd-analyze", "verify", "--man=no", "/tmp/faulty.service")  # noqa: S108 - its own

    assert "Unknown key 'Restrat'" in verified.stdout
    assert "/nowhere is not executable" in verified.stdout


def test_a_boot_reaches_nothing_beyond_the_account(lab: Lab) -> None:
    rule = f"FORWARD --in-interface vpc0 --out-interface {UPLINK} --jump DROP".split()
    subprocess.run(["iptables", "--insert", *rule], check=True)
    try:
        with lab.builder(FLEET) as builder:
            served = answers(lab, builder)
        counted = subprocess.run(
            ["iptables", "--list", "FORWARD", "1", "--verbose", "--numeric"], check=True, capture_output=True, text=True
        ).stdout.split()
    finally:
        subprocess.run(["iptables", "--delete", *rule], check=True)

    assert served
    assert counted[:3] == ["0", "0", "DROP"]


def test_a_builder_builds_a_git_context(
    lab: Lab, builder: Builder, context: Path, busybox_arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    repositories = tmp_path_factory.mktemp("repositories")
    for words in (["init", "-b", "main"], ["add", "."], [*AUTHOR, "commit", "-m", "The context"]):
        subprocess.run(["git", *words], cwd=context, check=True)
    subprocess.run(["git", "clone", "--bare", context, repositories / "context.git"], check=True)

    with git_daemon(repositories) as address:
        build = lab.client(FLEET, {ARCHITECTURE: builder}).build(
            f"git://{address}/context.git#main", arguments=busybox_arguments
        )

    assert build.steps > 0


def test_a_reboot_keeps_the_store_and_brings_back_the_rest(
    lab: Lab, fleet: Fleet, context: Path, busybox_arguments: list[str], volume: Path
) -> None:
    builder = fleet.launch(volume=volume)
    client = lab.client(FLEET, {ARCHITECTURE: builder})
    client.build(context, arguments=busybox_arguments)
    before = builder.run("findmnt", "--noheadings", "--output=SOURCE,FSTYPE,UUID", "/var/lib/buildkit").stdout
    certificate = builder.run("stat", "--format=%i %Y", "/run/buildkit-tls/tls.key").stdout
    rules = builder.run("iptables-save", "--table=raw").stdout

    builder.reboot()

    mounted = builder.run("findmnt", "--noheadings", "--output=SOURCE,FSTYPE,UUID", "/var/lib/buildkit").stdout
    assert mounted == before
    assert " xfs " in mounted
    assert builder.run("stat", "--format=%i %Y", "/run/buildkit-tls/tls.key").stdout != certificate
    assert (
        [line for line in builder.run("iptables-save", "--table=raw").stdout.splitlines() if "DROP" in line]
        == [line for line in rules.splitlines() if "DROP" in line]
        != []
    )
    assert answers(lab, builder)
    assert not answers(lab, builder, show=False)
    build = client.build(context, arguments=busybox_arguments)
    assert build.cached_steps == build.steps > 0
    assert fleet.terminate(builder) == "CONTINUE"


def test_a_second_boot_on_the_volume_of_another_keeps_its_store(
    lab: Lab, fleet: Fleet, context: Path, busybox_arguments: list[str], volume: Path
) -> None:
    first = fleet.launch(volume=volume)
    lab.client(FLEET, {ARCHITECTURE: first}).build(context, arguments=busybox_arguments)
    first.power_off()
    fleet.end(first)

    second = fleet.launch(volume=volume)

    build = lab.client(FLEET, {ARCHITECTURE: second}).build(context, arguments=busybox_arguments)
    assert build.cached_steps == build.steps > 0


def test_a_builder_that_a_reboot_leaves_without_its_store_asks_for_its_replacement(
    lab: Lab, fleet: Fleet, volume: Path
) -> None:
    builder = fleet.launch(volume=volume)
    builder.power_off()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(volume)], check=True)

    builder.power_on()
    wait_for_call(fleet, "SetInstanceHealth")

    (call,) = [call for call in fleet.group.calls if call.action == "SetInstanceHealth"]
    assert (call.instance_id, call.result) == (builder.instance_id, "Unhealthy")
    assert not answers(lab, builder)
    assert "was not made by a builder" in builder.console.read_text()
    wait_for_event(builder, "asked_for_replacement")
    assert fleet.terminate(builder) == "CONTINUE"


def test_a_builder_whose_daemon_ends_for_good_asks_for_its_replacement_and_serves_when_it_can(
    lab: Lab, fleet: Fleet
) -> None:
    builder = fleet.launch()
    builder.run("mv", "/usr/local/bin/buildkitd", "/usr/local/bin/away")
    builder.run("sh", "-c", "kill $(pgrep --full '^/usr/local/bin/buildkitd ')")
    wait_for_call(fleet, "SetInstanceHealth")

    builder.run("mv", "/usr/local/bin/away", "/usr/local/bin/buildkitd")

    until = time.monotonic() + 60
    while not answers(lab, builder):
        assert time.monotonic() < until
        time.sleep(0.2)


FAILURES = {
    "host files": ({"HOST_FILES": "s3://nowhere/host.zip"}, "", "nowhere|AccessDenied|403|404"),
    "packages": ({}, "rm /usr/sbin/iptables", r"bootstrap\.sh failed in line \d+: dnf install .*"),
    "archive's sum": ({"BUILDKIT_ARCHIVE_SHA256": "0" * 64}, "", "got [0-9a-f]{64}, allowed 0{64}: put the archive"),
    "archive": (
        {"BUILDKIT_ARCHIVE": "s3://nowhere/buildkit.tar.gz"},
        "",
        "s3://nowhere/buildkit.tar.gz: got nothing, allowed [0-9a-f]{64}: put the archive",
    ),
    "full disk": (
        {},
        (
            "cp -a /usr/local/bin/{aws,systemctl} /tmp && mount -t tmpfs -o size=8M tmpfs /usr/local/bin "
            "&& cp -a /tmp/{aws,systemctl} /usr/local/bin"
        ),
        "No space left on device",
    ),
    "store": ({}, "umount /var/lib/buildkit", "builder-store.service"),
    "certificate": ({"CERTIFICATE_SECRET": "no-such-secret"}, "", "builder-certificate.service"),
    "firewall": (
        {},
        (
            r"rm /usr/sbin/iptables-restore && printf '#!/bin/sh\nexit 3\n' >/usr/sbin/iptables-restore "
            "&& chmod +x /usr/sbin/iptables-restore"
        ),
        r"/usr/sbin/iptables-restore.* (3|status 3)",
    ),
    "daemon": ({}, "python3 -m http.server 1234 & sleep 1", "buildkitd.service ended with code 1 before it was ready"),
}


@pytest.mark.parametrize(("environment", "image_change", "words"), FAILURES.values(), ids=FAILURES)
def test_a_boot_that_fails_is_logged_and_abandoned(
    fleet: Fleet, environment: dict[str, str], image_change: str, words: str
) -> None:
    with pytest.raises(BuilderError, match="the user data's script ended with code") as error:
        fleet.launch(environment, image_change=image_change)

    console = Path(re.findall(r"its console (\S+):", str(error.value))[0]).read_text()
    assert re.search(words, console)
    assert "asking for another builder" in console
    assert hook_answers(fleet) == [("CompleteLifecycleAction", "boot", "ABANDON")]
