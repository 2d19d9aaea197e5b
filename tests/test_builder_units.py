"""The builder's units under real systemd, of the AMI's own version, in a virtual machine (`local/virtual_machine`)."""

from pathlib import Path

import pytest

from local.toolchain import Toolchain
from local.virtual_machine import AVAILABLE, VirtualMachine

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="user-mode Linux, where systemd runs, is for x86_64")

ENVIRONMENT = "AWS_REGION=eu-west-1\nCERTIFICATE_SECRET=secret\n"
# Stands in for AWS's command line tool: what the unit may do with the answer is what this is about.
AWS = """#!/bin/sh
echo '{"ca.crt": "the authority", "tls.crt": "the certificate", "tls.key": "the key"}'
"""
# The drain's own program would ask the metadata service first.
DRAIN = """[Service]
ExecStart=
ExecStart=/bin/sh -c 'systemctl start probe.service && cat /proc/net/tcp /run/buildkit-tls/ca.crt >/dev/null && \
! touch /opt/written && \
journalctl --sync && journalctl --unit=probe.service | grep Finished && \
touch /var/lib/cdk-buildkit/lock && sleep infinity'
"""
# So would what sends the logs.
LOGS = """[Service]
ExecStart=
ExecStart=/bin/sh -c '! touch /opt/written && journalctl --sync && \
journalctl --unit=builder-logs.service | grep Start && touch /var/lib/cdk-buildkit/journal-cursor.new && sleep infinity'
"""
PROBE = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"


@pytest.fixture
def machine(tmp_path: Path, root: Path, toolchain: Toolchain) -> VirtualMachine:
    """A machine with the units and the host files where a builder has them."""
    assert toolchain
    host = root / "constructs/cdk_buildkit/host"
    files = {f"/etc/systemd/system/{unit.name}": unit for unit in host.glob("*.service")}
    for path, content in {
        "/etc/cdk-buildkit/environment": ENVIRONMENT,
        "/usr/local/bin/aws": AWS,
        "/etc/systemd/system/builder-drain.service.d/probe.conf": DRAIN,
        "/etc/systemd/system/builder-logs.service.d/probe.conf": LOGS,
        "/etc/systemd/system/probe.service": PROBE,
    }.items():
        files[path] = tmp_path / path.replace("/", "-")
        files[path].write_text(content)
        files[path].chmod(0o755)
    (tmp_path / "machine").mkdir()
    return VirtualMachine(tmp_path / "machine", files={"/opt/cdk-buildkit": host, **files})


def test_what_the_units_shut_off_leaves_them_what_they_need(machine: VirtualMachine) -> None:
    check = """
    [[ $(cat /run/buildkit-tls/tls.key) == "the key" ]]
    [[ $(stat --format=%a /run/buildkit-tls) == 700 && $(stat --format=%a /run/buildkit-tls/tls.key) == 600 ]]
    for ((tenth = 0; tenth < 200; tenth++)); do ! systemctl is-active --quiet probe.service || break; sleep 0.1; done
    for ((tenth = 0; tenth < 100; tenth++)); do [[ ! -e /var/lib/cdk-buildkit/lock ]] || break; sleep 0.1; done
    journalctl --unit=builder-drain.service --unit=builder-logs.service --no-pager | tail --lines=20
    systemctl is-active builder-certificate.service probe.service builder-drain.service builder-logs.service
    [[ -e /var/lib/cdk-buildkit/lock && -e /var/lib/cdk-buildkit/journal-cursor.new ]]
    """

    machine.boot([], ["builder-certificate.service", "builder-logs.service", "builder-drain.service"], check)


def test_the_store_is_unmounted_after_the_daemon_has_ended(machine: VirtualMachine) -> None:
    check = """
    mkdir -p /var/lib/buildkit
    mount -t tmpfs tmpfs /var/lib/buildkit
    systemctl show --property=After buildkitd.service | grep --word-regexp var-lib-buildkit.mount
    """

    machine.boot([], [], check)


def test_a_daemon_does_not_start_without_what_it_requires_and_the_caller_hears_of_it(machine: VirtualMachine) -> None:
    # This kernel has no packet filter to close the metadata service with.
    check = """
    systemctl start buildkitd.service && exit 1
    systemctl is-active buildkitd.service && exit 1
    systemctl list-units --state=failed
    """

    said = machine.boot([], [], check)

    assert "A dependency job for buildkitd.service failed" in said
    assert "builder-" in said
