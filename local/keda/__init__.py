"""KEDA's own scaler for CloudWatch, built from its pinned module: what it makes of triggers, without a cluster.

Of the module's scalers only this one is built; the others would bring what a hundred services need.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.manifest_tools import KEDA, fetch_module
from local.toolchain import CACHE, ToolchainError, find_go, locked

_SOURCES = Path(__file__).parent

_PACKAGES = ("apis", "pkg/eventreason", "pkg/metricscollector/webhook", "pkg/scalers/scalersconfig", "pkg/util")
_FILES = (
    "go.mod",
    "go.sum",
    "pkg/scalers/aws_cloudwatch_scaler.go",
    "pkg/scalers/scaler.go",
    *(f"pkg/scalers/aws/aws_{name}.go" for name in ("authorization", "common", "config_cache", "http")),
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What KEDA scales on.

    Args:
        value: The metric.
        target: How much of it one builder is for.
        active: Whether the first builder is called for.
    """

    value: float
    target: float
    active: bool


class ScalerError(Exception):
    """The scaler did not take a trigger, or CloudWatch did not answer; the message is its own."""


def install_scaler() -> Path:
    """Build the program that asks the scaler, once, and return its path.

    Raises:
        ToolchainError: It cannot be built here.
    """
    module = fetch_module(KEDA)
    directory = CACHE / f"keda-scaler-{KEDA.version}"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "keda-scaler"
    with locked(directory / "lock"):
        newest = max(path.stat().st_mtime for path in _SOURCES.glob("*.go"))
        if not program.exists() or program.stat().st_mtime < newest:
            _build(module, directory, program)
    return program


def ask_scaler(
    program: Path, triggers: Sequence[Mapping[str, str]], environment: Mapping[str, str], endpoint_url: str
) -> list[Reading]:
    """Let KEDA's scaler read CloudWatch for each trigger's metadata.

    Args:
        program: As `install_scaler` returns it.
        triggers: The metadata of each.
        environment: Where the AWS SDK finds its credentials.
        endpoint_url: Where CloudWatch is.

    Raises:
        ScalerError: It does not take one, or does not get an answer.
    """
    asked = [{**metadata, "awsEndpoint": endpoint_url} for metadata in triggers]
    completed = subprocess.run(
        [program], input=json.dumps(asked), env=dict(environment), capture_output=True, text=True, check=True
    )
    answers = json.loads(completed.stdout)
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        raise ScalerError("\n".join(errors))
    return [Reading(**answer) for answer in answers]


def _build(module: Path, directory: Path, program: Path) -> None:
    go = find_go(directory)
    with tempfile.TemporaryDirectory(dir=directory) as temporary:
        tree = Path(temporary)
        for package in _PACKAGES:
            shutil.copytree(module / package, tree / package, ignore=shutil.ignore_patterns("*_test.go"))
        for name in _FILES:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(module / name, tree / name)
        # What is in Go's cache may not be written to; a copy of it must be, to be removed.
        for path in tree.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.copyfile(_SOURCES / "external.go", tree / "pkg/scalers/external.go")
        (tree / "cmd/scaler").mkdir(parents=True)
        shutil.copyfile(_SOURCES / "scaler.go", tree / "cmd/scaler/main.go")
        built = tree / "keda-scaler"
        command = [go, "build", "-C", str(tree), "-trimpath", "-buildvcs=false", "-ldflags=-s -w", f"-o={built}"]
        completed = subprocess.run(
            [*command, "./cmd/scaler"],
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto"},
            capture_output=True,
            text=True,
            check=False,
        )
        if completed.returncode:
            raise ToolchainError(f"KEDA's scaler cannot be built:\n{completed.stderr[-2000:]}")
        built.replace(program)
