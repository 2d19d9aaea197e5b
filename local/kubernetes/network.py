"""The network of a node's pods: each has an interface of its own, routed by the node, which keeps the policies."""

import json
import subprocess
import threading

from local.kubernetes.network_policy import Member, rules
from local.kubernetes.objects import Objects
from local.vpc import GATEWAY, Vpc

_GATEWAY = "169.254.1.1"
"""Where a pod sends everything, as the VPC's CNI plugin has it."""

_FROM, _TO = "PODS-FROM", "PODS-TO"
_DIRECTIONS = {"Egress": (_FROM, "--in-interface"), "Ingress": (_TO, "--out-interface")}


class PodNetwork:
    """Connects pods, once in a sandbox.

    What a pod sends passes the node's chains INPUT and FORWARD, and there the rules of the policies. What the node
    itself sends a pod is always let through: it is the kubelet, or the load balancer's stand-in.

    Args:
        vpc: The network whose addresses pods get.
        objects: The cluster's objects, with the policies.
    """

    def __init__(self, vpc: Vpc, objects: Objects) -> None:
        self._vpc = vpc
        self._objects = objects
        self._members: dict[str, Member] = {}
        self._lock = threading.Lock()
        self._iptables("--new-chain", _FROM)
        self._iptables("--new-chain", _TO)
        for words in self._jumps():
            self._iptables("--insert", *words)

    def next_address(self) -> str:
        """Return an address for one more pod."""
        return self._vpc.next_address()

    def connect(self, process_id: int, interface: str, pod: Member) -> None:
        """Give the network namespace of a process the interface `eth0`, and keep the policies from then on.

        Args:
            process_id: The process.
            interface: The name of the node's end, `pod` and a number.
            pod: Who it is.
        """
        _run(f"ip link add {interface} type veth peer name eth0 netns {process_id}")
        with self._lock:
            self._members[interface] = pod
            self._write_rules()
        _run(f"ip link set {interface} up")
        (shown,) = json.loads(_output(f"ip -json link show {interface}"))
        address = shown["address"]
        inside = f"nsenter --target={process_id} --net ip"
        for line in (
            "link set lo up",
            f"address add {pod.address}/32 dev eth0",
            "link set eth0 up",
            f"route add {_GATEWAY} dev eth0 scope link",
            f"route add default via {_GATEWAY}",
            f"neighbor add {_GATEWAY} lladdr {address} dev eth0 nud permanent",
        ):
            _run(f"{inside} {line}")
        _run(f"ip route add {pod.address}/32 dev {interface} src {GATEWAY}")

    def disconnect(self, interface: str) -> None:
        """Forget a pod, whose interface goes with its namespace."""
        with self._lock:
            del self._members[interface]
            self._write_rules()
            for direction in _DIRECTIONS:
                self._iptables("--flush", f"{interface}-{direction}")
                self._iptables("--delete-chain", f"{interface}-{direction}")

    def close(self) -> None:
        """Keep no policy any more."""
        for interface in list(self._members):
            self.disconnect(interface)
        for words in self._jumps():
            self._iptables("--delete", *words)
        for chain in (_FROM, _TO):
            self._iptables("--delete-chain", chain)

    @staticmethod
    def _jumps() -> list[tuple[str, ...]]:
        # What one pod sends another passes both, the sender's first: each is put in before the one above.
        return [
            ("FORWARD", "--out-interface", "pod+", "--jump", _TO),
            ("FORWARD", "--in-interface", "pod+", "--jump", _FROM),
            ("INPUT", "--in-interface", "pod+", "--jump", _FROM),
        ]

    def _write_rules(self) -> None:
        # All of them at once: a policy may name other pods.
        pods = list(self._members.values())
        lines = ["*filter", f":{_FROM} - [0:0]", f":{_TO} - [0:0]"]
        chains: list[tuple[str, list[tuple[str, ...]]]] = []
        for interface, pod in self._members.items():
            for direction, (top, option) in _DIRECTIONS.items():
                chain = f"{interface}-{direction}"
                lines += [f":{chain} - [0:0]", f"--append {top} {option} {interface} --goto {chain}"]
                chains.append((chain, rules(direction, pod, pods, self._objects)))
        lines += [f"--append {chain} {' '.join(rule)}" for chain, found in chains for rule in found]
        _run("iptables-restore --noflush --wait", "\n".join([*lines, "COMMIT", ""]))

    @staticmethod
    def _iptables(*words: str) -> None:
        subprocess.run(["iptables", "--wait", *words], check=True)


def _run(line: str, words: str | None = None) -> None:
    subprocess.run(line.split(), input=words, text=True, check=True)


def _output(line: str) -> str:
    return subprocess.run(line.split(), capture_output=True, text=True, check=True).stdout
