"""A virtual machine: a kernel of its own with striping and XFS, real udev and systemd, disks that outlive its boots.

The kernel is user-mode Linux, a program of Debian's for x86_64 that needs no hardware support. Its root shows this
machine's own files, and forgets what is written to it when the machine goes off.
"""

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

AVAILABLE = platform.machine() == "x86_64"
"""Whether such a machine can run here: there is no user-mode Linux for other processors."""

_DIRECTORY = Path(__file__).parent
_MEMORY = "512M"
_PATIENCE_SECONDS = 180


class VirtualMachineError(Exception):
    """A virtual machine did not come up, or its check failed; the message has what it said."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk that is there when the machine boots.

    Args:
        image: The file with its content. Made, of `bytes` zeros, where there is none.
        link: Its name below /dev, by udev.
        seconds_late: How long udev takes for the link.
        bytes: The size of a new one.
    """

    image: Path
    link: str
    seconds_late: int = 0
    bytes: int = 400 * 1024 * 1024

    def make(self) -> None:
        """Make the image where there is none."""
        if not self.image.exists():
            with self.image.open("wb") as file:
                file.truncate(self.bytes)


class VirtualMachine:
    """Boots as often as it is told to.

    Args:
        directory: The machine's own.
        files: What is laid over its root at each boot: files or directories, by their path there.
    """

    def __init__(self, directory: Path, *, files: Mapping[str, Path]) -> None:
        self._directory = directory
        root = directory / "files"
        units = root / "etc/systemd/system"
        units.mkdir(parents=True)
        for path, source in files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        shutil.copy(_DIRECTORY / "check.service", units)
        self._drop_in = units / "check.service.d" / "after.conf"
        self._drop_in.parent.mkdir()
        self._rules = root / "etc/udev/rules.d/10-disks.rules"
        self._rules.parent.mkdir(parents=True)

    def boot(self, disks: Sequence[Disk], units: Sequence[str], check: str) -> str:
        """Boot, start units as a boot does, run a check whatever became of them, and power off.

        Args:
            disks: Its disks, in their order.
            units: What is started before the check; a failure is the check's business.
            check: A bash script that fails at the first failing command.

        Returns:
            What the check wrote, its trace included.

        Raises:
            VirtualMachineError: The machine did not come up, or the check failed.
        """
        for disk in disks:
            disk.make()
        self._rules.write_text("".join(_rule(number, disk) for number, disk in enumerate(disks)))
        self._drop_in.write_text(f"[Unit]\nWants={' '.join(units)}\nAfter={' '.join(units)}\n")
        (self._directory / "check.sh").write_text(f"set -euo pipefail\n{check}")
        exit_status = self._directory / "exit-status"
        exit_status.unlink(missing_ok=True)
        console = self._run([f"ubd{number}={disk.image}" for number, disk in enumerate(disks)])
        output = self._directory / "output"
        if not exit_status.exists():
            raise VirtualMachineError("a virtual machine did not get to its check:\n" + _end_of(console))
        if exit_status.read_text().strip() != "0":
            raise VirtualMachineError(f"the check failed:\n{output.read_text()}\n" + _end_of(console))
        return output.read_text()

    def _run(self, disks: list[str]) -> str:
        root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]
        init = [f"init={_DIRECTORY / 'init.sh'}", f"machine={self._directory}"]
        try:
            completed = subprocess.run(
                ["linux.uml", f"mem={_MEMORY}", *root, *init, *disks, "con=null", "con0=null,fd:1", "quiet"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            said = _end_of((error.stdout or b"").decode(errors="replace"))
            raise VirtualMachineError(f"a virtual machine did not end in {_PATIENCE_SECONDS} s:\n{said}") from error
        return completed.stdout.decode(errors="replace")


def _rule(number: int, disk: Disk) -> str:
    late = f'PROGRAM="/bin/sleep {disk.seconds_late}", ' if disk.seconds_late else ""
    return f'KERNEL=="ubd{chr(ord("a") + number)}", {late}SYMLINK+="{disk.link}"\n'


def _end_of(console: str) -> str:
    return "\n".join(console.splitlines()[-40:])
