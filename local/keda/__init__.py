"""KEDA's own scaler for CloudWatch, built from its pinned module: what it makes of triggers, without a cluster.

Of the module's scalers only this one is built; the others would bring what a hundred services need.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.go_modules import KEDA, build_in_module, fetch_module
from local.go_programs import CACHE, locked

_SOURCES = Path(__file__).parent

_KEPT = (
    "go.mod",
    "go.sum",
    "apis",
    "pkg/eventreason",
    "pkg/metricscollector/webhook",
    "pkg/scalers/scalersconfig",
    "pkg/util",
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
            added = {"cmd/scaler/main.go": _SOURCES / "scaler.go", "pkg/scalers/external.go": _SOURCES / "external.go"}
            build_in_module(module, program, added, kept=_KEPT)
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
