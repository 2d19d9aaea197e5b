"""A builder on this machine: namespaces in place of an instance, booted from a launch template's user data."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.guest.imds import metadata
from local.guest.init import LOADER_STARTED, METADATA_CHANGES
from local.vpc import GATEWAY, Vpc

BUILDKIT_PORT = 1234
"""Where buildkitd listens on a builder."""

_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")
_numbers = itertools.count(1)


class BuilderError(Exception):
    """A builder did not boot; the message says why and where its console is.

    Args:
        message: What was wrong.
        instance_id: Whose boot it was.
    """

    def __init__(self, message: str, instance_id: str) -> None:
        super().__init__(message)
        self.instance_id = instance_id


@dataclass(frozen=True, kw_only=True)
class InstanceProfile:
    """What the metadata service tells an instance of its role.

    Args:
        role_name: The role.
        credentials: `AccessKeyId`, `SecretAccessKey`, `Token`, `Expiration`, and what else the service answers.
    """

    role_name: str
    credentials: Mapping[str, str]


class Builder:
    """One instance, switched off at first. Made in a sandbox; `destroy` loses its disks.

    `loader_started` is when its first boot came to the user data's script (`time.monotonic`).

    Args:
        vpc: The network that it joins.
        directory: Where its disks are kept; removed with it.
        user_data: The launch template's user data, as it stands.
        profile: The role's credentials.
        region: The region that the metadata service names.
        environment: What the host's environment file says differently here.
        group_name: The Auto Scaling group that its tags name. Default: it is in none.
        image_change: A shell line that makes its image differ from this machine's, run once. Default: it does not.
        volume: The file of a volume for the store, as /dev/sdb. Default: it finds its store mounted.
    """

    def __init__(
        self,
        vpc: Vpc,
        directory: Path,
        *,
        user_data: str,
        profile: InstanceProfile,
        region: str,
        environment: Mapping[str, str],
        group_name: str | None = None,
        image_change: str = "",
        volume: Path | None = None,
    ) -> None:
        self._vpc = vpc
        self._number = next(_numbers)
        self.instance_id = f"i-{self._number:017x}"
        self.address = vpc.next_address()
        self.endpoint = f"{self.address}:{BUILDKIT_PORT}"
        self._directory = directory / self.instance_id
        self._directory.mkdir(parents=True)
        self._metadata_changes: dict[str, str | None] = {}
        self.set_metadata("meta-data/tags/instance/aws:autoscaling:groupName", group_name)
        self.console = directory / f"{self.instance_id}.log"
        self._plan = self._directory / "plan.json"
        self._plan.touch(mode=0o600)
        self._plan.write_text(
            json.dumps(
                {
                    "directory": str(self._directory),
                    "address": f"{self.address}/16",
                    "gateway": GATEWAY,
                    "user_data": user_data,
                    "environment": dict(environment),
                    "image_change": image_change,
                    "volume": str(volume) if volume else None,
                    "aws": shutil.which("aws", path=str(Path(sys.executable).parent)),
                    "metadata": metadata(
                        instance_id=self.instance_id,
                        region=region,
                        role_name=profile.role_name,
                        credentials=profile.credentials,
                    ),
                }
            )
        )
        self.loader_started = 0.0

    def set_metadata(self, path: str, value: str | None) -> None:
        """Let the metadata service answer differently from now on; None takes the path away."""
        self._metadata_changes[path] = value
        new = self._directory / f"{METADATA_CHANGES}.new"
        new.write_text(json.dumps(self._metadata_changes))
        new.replace(self._directory / METADATA_CHANGES)

    def power_on(self) -> None:
        """Boot: run the user data at the first boot, start the enabled units at later ones.

        Raises:
            BuilderError: The first boot failed. At a later one it is there, whatever became of its units.
        """
        self.start_boot()
        with self._report as report:
            while (words := report.readline().strip()).startswith(LOADER_STARTED):
                self.loader_started = float(words.removeprefix(LOADER_STARTED))
        if words != "ready":
            self.destroy()
            raise BuilderError(
                f"a builder did not boot: {words or 'its init died'}; the end of its console {self.console}:\n"
                + "\n".join(self.console.read_text(errors="replace").splitlines()[-20:]),
                self.instance_id,
            )

    def start_boot(self) -> None:
        """Do the same, but return while it boots.

        Raises:
            BuilderError: Its namespaces could not be made.
        """
        report_read, report_write = os.pipe()
        self._report = os.fdopen(report_read)
        init = [sys.executable, "-m", "local.guest.init", str(self._plan), str(report_write)]
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                ["unshare", *_NAMESPACES, sys.executable, "-m", "local.first_process", *init],
                pass_fds=[report_write],
                stdout=console,
                stderr=console,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        os.close(report_write)
        self._first_process = self._find_first_process()
        self._vpc.connect(self._first_process, str(self._number))

    def power_off(self) -> int:
        """Stop its units in order, as a shutdown does, so that running builds end; its disks stay.

        Returns:
            Its init's exit code.
        """
        os.kill(self._first_process, signal.SIGTERM)
        exit_code = self._process.wait()
        self._wait_for_namespaces()
        return exit_code

    def wait_until_off(self, seconds: float) -> None:
        """Wait for a shutdown that it has begun itself.

        Raises:
            subprocess.TimeoutExpired: It is still on.
        """
        self._process.wait(seconds)
        self._wait_for_namespaces()

    def reboot(self) -> None:
        """Switch it off and on: processes, memory and interfaces go, disks and enabled units stay."""
        self.power_off()
        self.power_on()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as Session Manager would, and return what it said."""
        return subprocess.run(
            ["nsenter", f"--target={self._first_process}", "--mount", "--net", "--pid", "--ipc", "--uts", *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def destroy(self) -> None:
        """End it at once, as a spot interruption without notice would, and remove its disks."""
        self._process.kill()
        self._process.wait()
        self._report.close()
        self._wait_for_namespaces()
        subprocess.run(["rm", "-rf", str(self._directory)], check=True)  # hundreds of thousands of files: not in Python

    def _wait_for_namespaces(self) -> None:
        # They go with its first process, and its mounts with them.
        while Path(f"/proc/{self._first_process}").exists():
            time.sleep(0.01)

    def _find_first_process(self) -> int:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while not (child := children.read_text().strip()):
            if self._process.poll() is not None:
                raise BuilderError(f"a builder's namespaces could not be made; see {self.console}", self.instance_id)
        return int(child)
