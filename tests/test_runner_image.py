"""The scripts that make a runner's image, run with real tools: no program without its sum, no login."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "constructs/cdk_buildkit/runner"
PROGRAM = b"#!/bin/sh\necho built by a test\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A curl that serves one program to whom it was told to fetch it over https alone."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "program").write_bytes(PROGRAM)
    curl = tools / "curl"
    curl.write_text(
        "#!/bin/bash\n"
        'arguments=" $* "\n'
        "[[ $arguments == *' --proto =https --proto-redir =https '* && $arguments == *' --fail '* ]] || exit 2\n"
        "while (($# > 2)) && [[ $1 != --output ]]; do shift; done\n"
        f'cp {tmp_path / "program"} "$2"\n'
    )
    curl.chmod(0o755)
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}


def run(script: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPTS / script, *arguments], env=environment, check=False, capture_output=True, text=True
    )


def test_a_program_with_its_sum_is_installed(tmp_path: Path, environment: dict[str, str]) -> None:
    target = tmp_path / "cli-plugins/docker-buildx"
    sum_of_it = hashlib.sha256(PROGRAM).hexdigest()

    result = run("install-tool.sh", "https://example.com/buildx", sum_of_it, str(target), environment=environment)

    assert result.returncode == 0, result.stderr
    assert subprocess.run([target], check=True, capture_output=True).stdout == b"built by a test\n"


def test_a_program_with_another_sum_is_not(tmp_path: Path, environment: dict[str, str]) -> None:
    target = tmp_path / "docker-buildx"

    result = run("install-tool.sh", "https://example.com/buildx", "0" * 64, str(target), environment=environment)

    assert result.returncode == 1
    assert f"has the SHA-256 {hashlib.sha256(PROGRAM).hexdigest()}, and must have {'0' * 64}" in result.stderr
    assert not target.exists()


def test_docker_asks_the_helper_for_the_given_registries(tmp_path: Path, environment: dict[str, str]) -> None:
    configuration = json.dumps({"credHelpers": {"111122223333.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}})

    result = run("configure-docker.sh", configuration, str(tmp_path), environment=environment)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / ".docker/config.json").read_text() == f"{configuration}\n"
    assert (tmp_path / ".docker/config.json").stat().st_uid == tmp_path.stat().st_uid
