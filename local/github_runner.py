"""A GitHub runner, as far as a job sees it: the hooks around it, and the environment that goes from step to step."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from local.client import DECOY_ACCESS_KEY
from local.deployment import REPOSITORY

HOOKS = REPOSITORY / "constructs" / "cdk_buildkit" / "runner"
_DOCKER = '#!/bin/sh\n[ "$1" = buildx ] || exit 1\nshift\nexec buildx "$@"\n'
"""Docker's command line, with the one plugin that is tried here."""


class GithubRunner:
    """A machine that runs jobs, one after another.

    Args:
        directory: Its home, its files and what it has on PATH.
        image: What its image's `.env` says.
        account: With which environment AWS's client finds the account, in place of the machine's own role.
    """

    def __init__(self, directory: Path, *, image: Mapping[str, str], account: Mapping[str, str]) -> None:
        self.home = directory / "home"
        self.temporary = directory / "temporary"
        programs = directory / "bin"
        for each in (self.home, self.temporary, programs):
            each.mkdir(parents=True)
        docker = programs / "docker"
        docker.write_text(_DOCKER)
        docker.chmod(0o755)
        self.account = dict(account)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDG_", "BUILDX"))},
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "RUNNER_TEMP": str(self.temporary),
            **image,
        }

    @property
    def certificates(self) -> list[Path]:
        """What is there of client certificates."""
        return [each for each in self.home.rglob("*") if each.suffix in (".crt", ".key")]

    @property
    def builders(self) -> list[str]:
        """The builders that buildx knows, but for its own default."""
        done = subprocess.run(
            ["buildx", "ls", "--format={{.Builder.Name}}"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return sorted({each.rstrip("*") for each in done.stdout.split()} - {"default"})


class Job:
    """A job on a runner.

    Args:
        runner: The runner.
        directory: The job's working directory, which its steps have checked out.
        event: What GitHub says started it.
        variables: What GitHub says of it, `GITHUB_REPOSITORY` and others.
    """

    def __init__(
        self, runner: GithubRunner, directory: Path, *, event: Mapping[str, object], variables: Mapping[str, str]
    ) -> None:
        self._runner = runner
        self._directory = directory
        self._file = runner.temporary / "environment"
        self._file.write_text("")
        event_file = runner.temporary / "event.json"
        event_file.write_text(json.dumps(event))
        self._variables = {**variables, "GITHUB_EVENT_PATH": str(event_file), "GITHUB_ENV": str(self._file)}

    @property
    def exported(self) -> dict[str, str]:
        """What its steps have been given to their environment so far."""
        return read_environment_file(self._file.read_text())

    def start(self, **image: str) -> subprocess.CompletedProcess[str]:
        """Run the hook before its first step, with what else the image might say."""
        return self._run("-e", str(HOOKS / "job-started.sh"), environment={**self._runner.account, **image})

    def step(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a step of it, which has AWS credentials of its own, as a deployment's job has."""
        decoys = {"AWS_ACCESS_KEY_ID": DECOY_ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": "decoy", "AWS_REGION": "us-west-2"}
        return self._run("--noprofile", "--norc", "-eo", "pipefail", "-c", script, environment=decoys | self.exported)

    def complete(self) -> subprocess.CompletedProcess[str]:
        """Run the hook after its last step."""
        return self._run("-e", str(HOOKS / "job-completed.sh"), environment=self._runner.account)

    def _run(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", *arguments],
            cwd=self._directory,
            env={**self._runner.environment, **self._variables, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def read_environment_file(text: str) -> dict[str, str]:
    """Read what was written into `$GITHUB_ENV`, as a runner does: `NAME=value`, or `NAME<<END`, lines, `END`.

    Raises:
        ValueError: A line is neither, or a value has no end.
    """
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, assigned, value = line.partition("=")
        several, marked, end = line.partition("<<")
        if marked and len(several) < len(name):
            read = []
            for each in lines:
                if each == end:
                    break
                read.append(each)
            else:
                raise ValueError(f"the value of {several} does not end")
            found[several] = "\n".join(read)
        elif assigned:
            found[name] = value
        elif line:
            raise ValueError(f"no variable is set by the line {line!r}")
    return found
