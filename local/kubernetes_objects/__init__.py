"""Kubernetes objects as buildx sends them, decoded by Kubernetes' own code: they are not JSON on their way."""

import json
import subprocess
from pathlib import Path
from typing import Any

from local.go_modules import BUILDX, build_in_module, fetch_module
from local.go_programs import CACHE, locked

_SOURCE = Path(__file__).parent / "decode.go"


def install_decoder() -> Path:
    """Build the program that decodes, once, with the versions that buildx has, and return its path.

    Raises:
        ToolchainError: It cannot be built here.
    """
    directory = CACHE / f"kubernetes-objects-{BUILDX.version}"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "decode"
    with locked(directory / "lock"):
        if not program.exists() or program.stat().st_mtime < _SOURCE.stat().st_mtime:
            build_in_module(fetch_module(BUILDX), program, {"cmd/decode/main.go": _SOURCE}, kept=("go.mod", "go.sum"))
    return program


def decode(program: Path, body: bytes) -> dict[str, Any]:
    """Return an object in the form that manifests have.

    Args:
        program: As `install_decoder` returns it.
        body: The object in protobuf or JSON.
    """
    completed = subprocess.run([program], input=body, capture_output=True, check=True)
    decoded: dict[str, Any] = json.loads(completed.stdout)
    return decoded
