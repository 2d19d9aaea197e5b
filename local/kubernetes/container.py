"""A container: a root file system and processes that runc confines."""

import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from local.kubernetes.images import ContainerImage
from local.kubernetes.oci import Device

_OVERLAY = ("upper", "work", "root")


class Container:
    """One run of a container; it runs from here on.

    Args:
        name: Unlike any other's that runs.
        specification: What the runtime is told; its root is filled in.
        image: What its root file system begins as.
        directory: For its root file system, the runtime's state and what differs from the image.
        log: The file that its output is added to.
    """

    def __init__(
        self,
        name: str,
        specification: Mapping[str, Any],
        *,
        image: ContainerImage,
        directory: Path,
        log: Path,
    ) -> None:
        self._name = name
        self._directory = directory
        self._root = directory / "root"
        for each in _OVERLAY:
            (directory / each).mkdir(parents=True, exist_ok=True)
        for hidden in image.hidden:
            (directory / "upper" / hidden).mkdir(parents=True, mode=0o1777)
            (directory / "upper" / hidden).chmod((Path("/") / hidden).stat().st_mode)
            os.setxattr(directory / "upper" / hidden, "trusted.overlay.opaque", b"y")
        options = f"lowerdir={image.root},upperdir={directory / 'upper'},workdir={directory / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(self._root)], check=True)
        for path, target in image.links.items():
            link = self._root / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        bundle = {
            **specification,
            "root": {**specification["root"], "path": str(self._root)},
            "mounts": [*specification["mounts"], *map(_as_it_is, image.kept)],
        }
        (directory / "config.json").write_text(json.dumps(bundle))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._runc(), "run", "--bundle", str(directory), name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.exit_code: int | None = None
        self.ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()
        self._wait_until_created()

    @property
    def process_id(self) -> int:
        """Its first process, as this machine counts."""
        return int(json.loads((self._directory / "runc" / self._name / "state.json").read_text())["init_process_pid"])

    def execute(self, command: Sequence[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it, and return what it said.

        Raises:
            subprocess.TimeoutExpired: It did not end in time. It was killed.
        """
        return subprocess.run(
            [*self._runc(), "exec", self._name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def stop(self, seconds: float) -> None:
        """Send SIGTERM to its first process, wait so long, then kill all of it."""
        self.signal("TERM")
        if not self.ended.wait(seconds):
            self.signal("KILL")
            self.ended.wait()

    def signal(self, name: str) -> None:
        """Send a signal to its first process, if there is one."""
        subprocess.run([*self._runc(), "kill", self._name, name], check=False, capture_output=True)

    def remove(self) -> None:
        """Lose its file system."""
        subprocess.run([*self._runc(), "delete", "--force", self._name], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", str(self._root)], check=True)
        subprocess.run(["rm", "-rf", str(self._directory)], check=True)

    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self._directory / "runc")]

    def _wait(self) -> None:
        code = self._process.wait()
        self.exit_code = code if code >= 0 else 128 - code
        self.ended.set()

    def _wait_until_created(self) -> None:
        while not self.ended.is_set():
            with suppress(OSError, ValueError, KeyError):
                if self.process_id:
                    return
            time.sleep(0.01)


@cache
def node_devices() -> Sequence[Device]:
    """Return the devices of this machine that a privileged container gets."""
    found = []
    for directory, names, files in os.walk("/dev"):
        names[:] = [name for name in names if name not in ("pts", "shm", "mqueue", "fd")]
        for path in (Path(directory) / file for file in files):
            status = path.lstat()
            kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else None
            if kind and path.name not in ("console", "ptmx", "tty"):
                major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
                found.append(Device(path=str(path), kind=kind, major=major, minor=minor))
    return found


@cache
def node_capabilities() -> int:
    """Return this machine's capabilities, a bit for each."""
    lines = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["CapEff"], 16)


def _as_it_is(path: str) -> dict[str, Any]:
    return {"type": "bind", "source": path, "destination": path, "options": ["rbind", "ro"]}
