"""Clients of a rehearsed fleet: real builds of given lengths, and what became of them."""

import itertools
import os
import shutil
import subprocess
from concurrent.futures import Future
from pathlib import Path

from local.lab import Lab
from local.rehearsal import FLEET, Fleet

_names = itertools.count()


class Clients:
    """Builds through a fleet's balancer, or at one builder's address, each with a context of its own."""

    def __init__(self, lab: Lab, fleet: Fleet, directory: Path, busybox: Path, *, address: str | None = None) -> None:
        self._address = address or fleet.address
        self._busybox = busybox
        self._server_name = lab.deployment.domain_name(FLEET)
        self._directory = directory
        self._environment = {**os.environ, "BUILDX_CONFIG": str(directory / "buildx"), "HOME": str(directory)}
        for name, content in lab.deployment.client_certificate(FLEET).items():
            (directory / name).write_text(content)
        options = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        self._run(
            *("buildx", "create", "--name=fleet", "--driver=remote", f"--driver-opt=servername={self._server_name}"),
            *(f"--driver-opt={option}={directory / name}" for option, name in options.items()),
            f"tcp://{self._address}",
        ).check_returncode()

    def build(self, seconds: float, *, buildx: bool = False) -> subprocess.CompletedProcess[str]:
        """Build for so long, and return what the client said."""
        context = self._context(f"/busybox sleep {seconds}")
        if buildx:
            return self._run("buildx", "build", "--builder=fleet", "--progress=plain", str(context))
        return self._buildctl(context)

    def run(self, step: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Build with a step and options of `buildx build`, and return what the client said."""
        return self._run(
            *("buildx", "build", "--builder=fleet", "--progress=plain", *options), str(self._context(step))
        )

    def _context(self, step: str) -> Path:
        number = next(_names)
        context = self._directory / f"context-{number}"
        context.mkdir()
        shutil.copy(self._busybox, context / "busybox")
        step = f'RUN ["/busybox", "sh", "-c", "{step} && /busybox echo {number}"]'
        (context / "Dockerfile").write_text(f"FROM scratch\nCOPY busybox /busybox\n{step}\n")
        return context

    def _buildctl(self, context: Path) -> subprocess.CompletedProcess[str]:
        files = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        return self._run(
            *("buildctl", f"--addr=tcp://{self._address}", f"--tlsservername={self._server_name}"),
            *(f"--tls{option}={self._directory / name}" for option, name in files.items()),
            *("build", "--frontend=dockerfile.v0", "--progress=plain"),
            *(f"--local={name}={context}" for name in ("context", "dockerfile")),
        )

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def losses(builds: list[Future[subprocess.CompletedProcess[str]]]) -> list[str]:
    return [done.stdout[-2000:] for build in builds if (done := build.result()).returncode]
