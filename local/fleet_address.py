"""A fleet's name in the sandbox: it leads to given builders, as the private zone and the load balancer make it do."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from buildkit_ops.architecture import Architecture
from local.builder import BUILDKIT_PORT

FLEET_ADDRESS = "10.64.255.1"


@contextmanager
def fleet_address(name: str, directory: Path, builders: Mapping[Architecture, str]) -> Iterator[None]:
    """Let a fleet's name lead to the builders at these addresses, each by its architecture's port.

    The sandbox's own: its name service, its address translation. The machine's are untouched.
    """
    hosts = directory / "hosts"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n{FLEET_ADDRESS} {name}\n")
    with ExitStack() as undo:
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
        undo.callback(subprocess.run, ["umount", "/etc/hosts"], check=True)
        for architecture, address in builders.items():
            rule = (
                *("OUTPUT", "--destination", FLEET_ADDRESS, "--protocol", "tcp", "--dport", str(architecture.port)),
                *("--jump", "DNAT", "--to-destination", f"{address}:{BUILDKIT_PORT}"),
            )
            subprocess.run(["iptables", "--table", "nat", "--append", *rule], check=True)
            undo.callback(subprocess.run, ["iptables", "--table", "nat", "--delete", *rule], check=True)
        yield
