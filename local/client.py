"""A build client as a pipeline has it: buildx with a remote builder, a client certificate and no cache credential."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheOptions

DECOY_ACCESS_KEY = "AKIADECOYDECOYDECOY0"
"""A key in every client's environment, as on a developer's machine. It must never reach the cache."""


class BuildError(Exception):
    """A build failed; the message has the end of what buildx said."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one build took.

    Args:
        seconds: From the start of buildx to its end.
        steps: Steps of the Dockerfile.
        cached_steps: Those of them that came from a cache.
    """

    seconds: float
    steps: int
    cached_steps: int


class Client:
    """Builds on one endpoint of each architecture, through `buildx`.

    Args:
        directory: Where it keeps its certificate and buildx's state.
        endpoints: Where the builders are, as `host:port`. Every build is for all of their architectures.
        server_name: The fleet's DNS name, which the server's certificate must carry.
        certificate: The client certificate: the PEM texts `ca.crt`, `tls.crt` and `tls.key`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        endpoints: Mapping[Architecture, str],
        server_name: str,
        certificate: Mapping[str, str],
    ) -> None:
        # The whole image, so that every layer of it is fetched. buildx cannot put that of two builders into one file.
        self._output = f"type=oci,dest={directory / 'image.tar'}" if len(endpoints) == 1 else "type=image,name=example"
        self._platforms = ",".join(architecture.platform for architecture in endpoints)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "BUILDX_CONFIG": str(directory / "buildx"),
            "DOCKER_CONFIG": str(directory / "docker"),
            "AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": "decoy",
            "AWS_REGION": "us-east-1",
        }
        directory.mkdir(parents=True)
        write_certificate(directory, certificate)
        options = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        driver_options = [f"--driver-opt={option}={directory / name}" for option, name in options.items()]
        for number, (architecture, endpoint) in enumerate(endpoints.items()):
            self._buildx(
                *("create", "--name=fleet", "--driver=remote", f"--driver-opt=servername={server_name}"),
                *(["--append"] if number else []),
                *(*driver_options, f"--platform={architecture.platform}", f"tcp://{endpoint}"),
            )

    def build(
        self,
        context: Path | str,
        *,
        options: CacheOptions | None = None,
        arguments: Sequence[str] = (),
        progress: Callable[[str], None] = lambda _: None,
    ) -> Build:
        """Build an image.

        Args:
            context: The build context, with its Dockerfile: a directory, or the URL of a git repository.
            options: The cache options. Default: no cache.
            arguments: Further arguments of `buildx build`.
            progress: Told the name of each step as it starts.

        Raises:
            BuildError: The build failed.
        """
        command = [
            *("buildx", "build", "--builder=fleet", "--progress=rawjson", f"--output={self._output}"),
            *("--provenance=false", f"--platform={self._platforms}"),
            *(*(options.arguments if options else []), *arguments, str(context)),
        ]
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        words: list[str] = []
        steps = Steps()
        for line in process.stdout:
            words.append(line)
            for name in steps.read(line):
                progress(name)
        if process.wait():
            said = [line for line in words if not line.startswith("{")]
            raise BuildError(f"buildx ended with code {process.returncode}:\n" + "".join(said[-20:]))
        return Build(seconds=time.monotonic() - started, steps=steps.count, cached_steps=steps.cached)

    def _buildx(self, *arguments: str) -> None:
        subprocess.run(["buildx", *arguments], env=self._environment, check=True, capture_output=True)


class Steps:
    """The steps of a build, read from what `buildx build --progress=rawjson` says."""

    def __init__(self) -> None:
        self._vertexes: dict[str, Mapping[str, object]] = {}

    def read(self, line: str) -> list[str]:
        """Read a line, and return the names of what it is the first to speak of."""
        new = []
        for vertex in _vertexes(line):
            if vertex["digest"] not in self._vertexes:
                new.append(str(vertex["name"]))
            self._vertexes[vertex["digest"]] = {**self._vertexes.get(vertex["digest"], {}), **vertex}
        return new

    @property
    def count(self) -> int:
        """How many steps the Dockerfile has."""
        return len(self._found)

    @property
    def cached(self) -> int:
        """How many of them came from a cache."""
        return sum(bool(step.get("cached")) for step in self._found)

    @property
    def _found(self) -> list[Mapping[str, object]]:
        return [vertex for vertex in self._vertexes.values() if _is_step(str(vertex["name"]))]


def write_certificate(directory: Path, certificate: Mapping[str, str]) -> None:
    """Write a client certificate's files into a directory, for their owner's eyes alone."""
    for name, content in certificate.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(content)


def _vertexes(line: str) -> list[dict[str, str]]:
    try:
        status = json.loads(line)
    except ValueError:
        return []
    return list(status.get("vertexes", [])) if isinstance(status, dict) else []


def _is_step(name: str) -> bool:
    # "[build 2/5] RUN ..." is a step of the Dockerfile; "[internal] load ..." and "exporting ..." are not.
    return re.match(r"\[(\S+ )*\d+/\d+\] ", name) is not None
