"""What the containers of a pod share, held by a process that does nothing."""

import subprocess
import time
from pathlib import Path


class Namespaces:
    """A pod's network, its host name and its shared memory, until they end.

    Args:
        hostname: The host name.
    """

    def __init__(self, hostname: str) -> None:
        kinds = {"network": "net", "ipc": "ipc", "uts": "uts"}
        self._process = subprocess.Popen(
            ["unshare", *(f"--{kind}" for kind in kinds.values()), "sleep", "infinity"], stdin=subprocess.DEVNULL
        )
        self.process_id = self._process.pid
        self.paths = {name: f"/proc/{self.process_id}/ns/{kind}" for name, kind in kinds.items()}
        while any(Path(path).readlink() == _own(Path(path).name) for path in self.paths.values()):
            time.sleep(0.005)
        subprocess.run(["nsenter", "--uts", f"--target={self.process_id}", "hostname", hostname], check=True)

    def end(self) -> None:
        """Let them go."""
        self._process.kill()
        self._process.wait()


def _own(kind: str) -> Path:
    return Path("/proc/self/ns", kind).readlink()
