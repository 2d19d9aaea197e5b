"""Call AWS through the AMI's own command line tool."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import Mapping  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

_PATIENCE_SECONDS = 60


class CallError(Exception):
    """AWS refused a call, or did not answer; the message says which and why."""


def aws(*arguments: str) -> str:
    """Make a call, and return its answer, JSON or nothing.

    Args:
        arguments: The service, the operation and its options.

    Raises:
        CallError: AWS refused, or did not answer.
    """
    command = ["aws", f"--region={os.environ['AWS_REGION']}", "--output=json", *arguments]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CallError(f"{arguments[0]} {arguments[1]}: no answer in {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        raise CallError(f"{arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout


def aws_with_input(service: str, operation: str, parameters: Mapping[str, object]) -> str:
    """Make a call whose parameters may be longer than a command line.

    Raises:
        CallError: AWS refused, or did not answer.
    """
    # The tool reads its input more than once: a pipe will not do.
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(parameters, file)
        file.flush()
        # In two words: only so does the tool see that it needs no option beside it.
        return aws(service, operation, "--cli-input-json", f"file://{file.name}")
