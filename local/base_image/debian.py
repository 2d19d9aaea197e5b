"""Fetches Debian packages of any architecture, without the machine's own package state."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from buildkit_ops.architecture import Architecture

_PROGRAMS = ("apt-get", "dpkg-deb")


class BaseImageError(Exception):
    """A base image cannot be made here; the message says what is missing and how to get it."""


def fetch_packages(packages: Sequence[str], architecture: Architecture, *, dependencies: bool) -> list[bytes]:
    """Return the files of Debian packages as one tar archive a package, from the machine's package sources.

    Args:
        packages: Their names.
        architecture: Of the packages; it need not be the machine's.
        dependencies: Also return what they depend on.

    Raises:
        BaseImageError: apt is missing, or has no source that answers.
    """
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        raise BaseImageError(
            f"{' and '.join(missing)} not found, and with them {', '.join(packages)} would be fetched for an image: "
            "run this on Debian or Ubuntu, or build from the public image where docker.io can be reached"
        )
    with tempfile.TemporaryDirectory(prefix="cdk-buildkit-apt-") as name:
        directory = Path(name)
        options = _private_state(directory, architecture)
        # A source that does not answer is an error here: an empty list would only fail later, and less clearly.
        _apt_get("update", "--error-on=any", options=options, directory=directory)
        if dependencies:
            # Nothing is installed according to the private state, so that every dependency is fetched as well.
            arguments = ["install", "--download-only", "--no-install-recommends", *packages]
        else:
            arguments = ["download", *packages]
        _apt_get(*arguments, options=options, directory=directory)
        return [
            subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
            for package in sorted(directory.rglob("*.deb"))
        ]


def _private_state(directory: Path, architecture: Architecture) -> list[str]:
    for part in ("state/lists/partial", "cache/archives/partial"):
        (directory / part).mkdir(parents=True)
    (directory / "status").touch()
    options = {
        "APT::Architecture": architecture.oci_name,
        "APT::Architectures": architecture.oci_name,
        "APT::Sandbox::User": "",  # apt's own user may not write to a private directory
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::Cache": str(directory / "cache"),
        "Dir::State": str(directory / "state"),
        "Dir::State::status": str(directory / "status"),
    }
    # Options win over the machine's configuration, which a file of our own would not.
    return [argument for name, value in options.items() for argument in ("--option", f"{name}={value}")]


def _apt_get(*arguments: str, options: Sequence[str], directory: Path) -> None:
    result = subprocess.run(
        ["apt-get", "--quiet=2", "--assume-yes", *options, *arguments],
        env={**os.environ, "LC_ALL": "C"},
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise BaseImageError(
            f"apt-get {arguments[0]} could not fetch Debian packages for an image; it said:\n{result.stderr.strip()}\n"
            "Check the machine's package sources with `apt-get update`, or build from the public image where docker.io "
            "can be reached"
        )
