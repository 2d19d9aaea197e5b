"""The network of a sandbox: a bridge in place of the VPC, with the emulated account at its gateway."""

import itertools
import subprocess

from local.sandbox import UPLINK

GATEWAY = "10.64.0.1"
"""This side's address: builders route through it, and find the emulated account there."""

_BRIDGE = "vpc0"
_NETWORK = "10.64.0.0/16"


class Vpc:
    """Gives builders an address and a way out, once in a sandbox."""

    def __init__(self) -> None:
        self._hosts = itertools.count(2)
        for line in (
            f"ip link add {_BRIDGE} type bridge",
            f"ip address add {GATEWAY}/16 dev {_BRIDGE}",
            f"ip link set {_BRIDGE} up",
            "sysctl --quiet --write net.ipv4.ip_forward=1",
            f"iptables --table nat --append POSTROUTING --source {_NETWORK} --out-interface {UPLINK} --jump MASQUERADE",
        ):
            _run(line)

    def next_address(self) -> str:
        """Return an address for one more builder."""
        number = next(self._hosts)
        return f"10.64.{number // 250}.{number % 250 + 1}"

    def connect(self, pid: int, name: str) -> None:
        """Give the network namespace of a process an interface `eth0` on the bridge."""
        interface = f"veth-{name}"[:15]
        # Of a builder that reboots the old one may still be there, and answer for its address: the kernel takes the
        # network of a process down some time after its end.
        subprocess.run(["ip", "link", "delete", interface], stderr=subprocess.DEVNULL, check=False)
        _run(f"ip link add {interface} type veth peer name eth0 netns {pid}")
        _run(f"ip link set {interface} master {_BRIDGE} up")


def _run(line: str) -> None:
    subprocess.run(line.split(), check=True)
