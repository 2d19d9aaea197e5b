"""Go modules that are read, or built together with code of this repository: each with its pinned sum.

Go's own cache keeps them, and checks what it fetches against its checksum database besides.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local import toolchain
from local.go_programs import CACHE, ToolchainError, find_go, locked


@dataclass(frozen=True, kw_only=True)
class GoModule:
    """A Go module whose files are wanted.

    Args:
        module: Its path.
        version: Its version.
        sum: What Go calls its sum, as `go.sum` files have it.
    """

    module: str
    version: str
    sum: str


KARPENTER = GoModule(
    module="sigs.k8s.io/karpenter", version="v1.13.0", sum="h1:7/ZergHciATEZ/hubSe9S2fB4iYWcRZqrWIItupUjVM="
)
KEDA = GoModule(
    module="github.com/kedacore/keda/v2", version="v2.20.2", sum="h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA="
)
LOAD_BALANCER_CONTROLLER = GoModule(
    # The newest that is there as a module. Auto Mode's TargetGroupBinding is of another group, with the same fields.
    module="sigs.k8s.io/aws-load-balancer-controller",
    version="v0.0.0-20221203001353-edeb4f1c1312",
    sum="h1:iqmp1UXslxq7MuJDW/7arHBniplzp2MbItx0PXP7r/8=",
)
BUILDX = GoModule(
    module=toolchain.BUILDX.module,
    version=toolchain.BUILDX.version,
    sum="h1:U7JTUSSeooFXbG+0HcI+CMjEIkvuZgJegXRZ1q7K63Q=",
)


def fetch_module(module: GoModule) -> Path:
    """Return the directory of a module's files, fetched once.

    Raises:
        ToolchainError: It cannot be fetched, or has another sum than the pinned one.
    """
    directory = CACHE / "go"
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "lock"):
        go = find_go(directory)
        completed = subprocess.run(
            [go, "mod", "download", "-json", f"{module.module}@{module.version}"],
            env={**os.environ, "GOTOOLCHAIN": "auto"},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
    if completed.returncode:
        raise ToolchainError(f"{module.module} cannot be fetched:\n{completed.stdout}{completed.stderr}")
    downloaded = json.loads(completed.stdout)
    if downloaded["Sum"] != module.sum:
        raise ToolchainError(
            f"the sum of {module.module} {module.version} must be {module.sum}; got {downloaded['Sum']}: pin another "
            "version and its sum together"
        )
    return Path(downloaded["Dir"])


def build_in_module(module: Path, program: Path, added: Mapping[str, Path], *, kept: Sequence[str]) -> None:
    """Build a program of this repository's with the code and the dependencies of a module.

    Args:
        module: The module's directory.
        program: Where the program goes.
        added: Files that the module gets, by their paths in it; the first is the program's.
        kept: Files and directories of the module that it is built with, beside its dependencies.

    Raises:
        ToolchainError: It cannot be built here.
    """
    directory = program.parent
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        tree = Path(temporary)
        for name in kept:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            if (module / name).is_dir():
                shutil.copytree(module / name, tree / name, ignore=shutil.ignore_patterns("*_test.go"))
            else:
                shutil.copyfile(module / name, tree / name)
        # What is in Go's cache may not be written to; a copy of it must be, to be removed.
        for path in tree.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        for name, source in added.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tree / name)
        built = tree / program.name
        command = [find_go(directory), "build", "-C", str(tree), "-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
        completed = subprocess.run(
            [*command, f"-o={built}", f"./{Path(next(iter(added))).parent}"],
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto"},
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode:
            raise ToolchainError(f"{program.name} cannot be built:\n{completed.stderr[-2000:]}")
        built.replace(program)
