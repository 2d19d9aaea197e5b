"""The programs that `make local` runs: from PATH where they are the pinned ones, else installed and kept in a cache.

BuildKit, buildx and the CNI plugins are built from their published Go modules, whose sums Go checks; runc, QEMU and
what else a builder's image has, or a test of it needs, come from Debian. `python -m local.toolchain` installs all of
it and prints the versions.
"""

import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildkit_ops.architecture import Architecture
from local.base_image.debian import BaseImageError, fetch_packages
from local.go_programs import (
    CACHE,
    GoProgram,
    ToolchainError,
    install_program,
    is_there,
    locked,
    output_of,
    version_words,
)

EMULATOR = {"x86_64": "buildkit-qemu-aarch64", "aarch64": "buildkit-qemu-x86_64"}[platform.machine()]
"""By this name BuildKit looks for what runs the other architecture's programs."""

DEBIAN_PACKAGES = {
    "runc": "runc",
    "iptables": "iptables",
    "slirp4netns": "slirp4netns",
    "ip": "iproute2",
    "ps": "procps",
    "mkfs.xfs": "xfsprogs",
    "systemd-analyze": "systemd",
    # A virtual machine, and what its kernel, udev and disks need; there is none for other processors.
    **(
        {"linux.uml": "user-mode-linux", "insmod": "kmod", "udevadm": "udev", "mdadm": "mdadm"}
        if platform.machine() == "x86_64"
        else {}
    ),
}
"""Programs and the Debian packages that have them."""

BUILDKIT = GoProgram(
    module="github.com/moby/buildkit",
    version="v0.31.2",
    packages={"./cmd/buildkitd": "buildkitd", "./cmd/buildctl": "buildctl"},
    version_variable="github.com/moby/buildkit/version.Version",
)
BUILDX = GoProgram(
    module="github.com/docker/buildx",
    version="v0.36.1",
    packages={"./cmd/buildx": "buildx"},
    version_variable="github.com/docker/buildx/version.Version",
)
CNI_PLUGINS = GoProgram(
    # The version and the names of BuildKit's own release.
    module="github.com/containernetworking/plugins",
    version="v1.9.1",
    packages={
        "./plugins/main/bridge": "buildkit-cni-bridge",
        "./plugins/main/loopback": "buildkit-cni-loopback",
        "./plugins/ipam/host-local": "buildkit-cni-host-local",
        "./plugins/meta/firewall": "buildkit-cni-firewall",
    },
    on_path=False,
)
GO_PROGRAMS = (BUILDKIT, BUILDX, CNI_PLUGINS)


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """The installed programs.

    Args:
        bin_directory: Where all that were built are.
        archives: BuildKit's programs as its release has them, an archive by the name of each architecture's. This
            machine's programs are in all of them: builders of every architecture run on it.
        versions: Of each program, as it says itself.
    """

    bin_directory: Path
    archives: Mapping[Architecture, Path]
    versions: Mapping[str, str]


def install_toolchain(progress: Callable[[str], None] = lambda _: None) -> Toolchain:
    """Find or install every program; quick when they are there. `buildx` and `buildctl` are on PATH afterwards.

    Args:
        progress: Told what takes long.

    Raises:
        ToolchainError: A program is missing and cannot be installed here.
    """
    _install_debian_packages(progress)
    directory = _directory()
    bin_directory = directory / "bin"
    with locked(directory / "lock"):
        bin_directory.mkdir(exist_ok=True)
        for program in GO_PROGRAMS:
            if not all(is_there(program, bin_directory / name) for name in program.packages.values()):
                install_program(program, bin_directory, directory, progress)
        archives = _pack(bin_directory, directory, progress)
    os.environ["PATH"] = f"{bin_directory}:{os.environ['PATH']}"
    versions = {program.module.rpartition("/")[2]: program.version for program in GO_PROGRAMS}
    return Toolchain(
        bin_directory=bin_directory, archives=archives, versions={**versions, "runc": version_words("runc")}
    )


def _directory() -> Path:
    # By what it holds: another set of versions is another directory.
    pins = "-".join(f"{program.module.rpartition('/')[2]}-{program.version}" for program in GO_PROGRAMS)
    directory = CACHE / pins
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _pack(bin_directory: Path, directory: Path, progress: Callable[[str], None]) -> Mapping[Architecture, Path]:
    programs = {name: bin_directory / name for name in ("buildkitd", "buildctl", *CNI_PLUGINS.packages.values())}
    programs["buildkit-runc"] = Path(shutil.which("runc") or "runc")
    programs[EMULATOR] = _fetch_emulator(bin_directory / EMULATOR)
    newest = max(path.stat().st_mtime for path in programs.values())
    archives = {
        architecture: directory / f"buildkit-{BUILDKIT.version}.linux-{architecture.oci_name}.tar.gz"
        for architecture in Architecture
    }
    for archive in archives.values():
        if not archive.exists() or archive.stat().st_mtime < newest:
            progress(f"packing {archive.name} as BuildKit's release does")
            with tempfile.TemporaryDirectory(dir=directory) as temporary:
                # Its name is in it, so that no two archives have one sum.
                unfinished = Path(temporary) / archive.name
                with tarfile.open(unfinished, "w:gz", compresslevel=1) as tar:
                    for name, path in programs.items():
                        tar.add(path.resolve(), f"bin/{name}")
                unfinished.replace(archive)
    return archives


def _fetch_emulator(path: Path) -> Path:
    # As in the release: RUN steps of the other architecture work on any builder, if slowly.
    if not path.exists():
        machine = {"x86_64": Architecture.X86_64, "aarch64": Architecture.ARM64}[platform.machine()]
        try:
            (package,) = fetch_packages(["qemu-user-static"], machine, dependencies=False)
        except BaseImageError as error:
            raise ToolchainError(str(error)) from error
        wanted = f"./usr/bin/{EMULATOR.removeprefix('buildkit-')}-static"
        with tarfile.open(fileobj=io.BytesIO(package)) as tar:
            program = tar.extractfile(wanted)
            assert program is not None  # noqa: S101 - a regular file
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_bytes(program.read())
        unfinished.chmod(0o755)
        unfinished.replace(path)
    return path


def _install_debian_packages(progress: Callable[[str], None]) -> None:
    missing = sorted({package for program, package in DEBIAN_PACKAGES.items() if not shutil.which(program)})
    if not missing:
        return
    words = " ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolchainError(f"programs are missing; install the packages {words}: apt-get install {words}")
    progress(f"installing {words}")
    output_of(["apt-get", "update"])
    output_of(
        ["apt-get", "install", "--yes", "--no-install-recommends", *missing], {"DEBIAN_FRONTEND": "noninteractive"}
    )


def main() -> None:
    """Install everything, and print the versions."""
    try:
        toolchain = install_toolchain(lambda words: print(words, file=sys.stderr))
    except ToolchainError as error:
        sys.exit(str(error))
    for name, version in toolchain.versions.items():
        print(f"{name} {version}")


if __name__ == "__main__":
    main()
