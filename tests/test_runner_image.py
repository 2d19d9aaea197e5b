"""The scripts that make a runner's image, run with real tools: no program without its sum, no login, and the tool."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import buildkit_ops

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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool, installed as in an image, from the package index."""
    directory = tmp_path_factory.mktemp("image")
    source, prefix = directory / "opt", directory / "local"
    source.mkdir()
    shutil.copytree(Path(buildkit_ops.__file__).parent, source / "buildkit_ops")
    shutil.copy(SCRIPTS / "requirements.txt", source)
    environment = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"}

    done = run("install-client.sh", str(source), str(prefix), environment={**os.environ, **environment})

    assert done.returncode == 0, done.stderr
    return prefix / "bin/cdk-buildkit"


def test_the_tool_is_installed_with_what_it_needs(installed: Path) -> None:
    done = subprocess.run([installed, "github-job", "--help"], check=True, capture_output=True, text=True)

    assert "Connect the job of GitHub Actions in which it runs" in done.stdout


def test_nothing_in_a_jobs_directory_or_environment_gets_into_the_tool(installed: Path, tmp_path: Path) -> None:
    for name in ("boto3", "buildkit_ops", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('theirs')\n")

    done = subprocess.run(
        [installed, "connect", "nowhere"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (
        3,
        "cdk-buildkit: no AWS region is set; set AWS_REGION or pass --region: the fleet's own\n",
    )


def test_what_the_tool_needs_is_not_installed_with_another_sum(tmp_path: Path) -> None:
    shutil.copytree(Path(buildkit_ops.__file__).parent, tmp_path / "buildkit_ops")
    # The smallest of them, with a sum of nothing.
    (tmp_path / "requirements.txt").write_text(f"mdurl==0.1.2 --hash=sha256:{'0' * 64}\n")

    done = run("install-client.sh", str(tmp_path), str(tmp_path / "local"), environment=dict(os.environ))

    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "local").exists()


def test_an_image_whose_python_makes_no_environments_gets_what_does(tmp_path: Path) -> None:
    # Stands in for Ubuntu's, which has no ensurepip until its package is there. The first that it then makes fails.
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {
        "python3": f"[ -e {tmp_path}/python3-venv ] && [ $1 = -c ]",
        "apt-get": f'echo "$*" >>{tmp_path}/apt-get; for each; do :; done; touch {tmp_path}/$each',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    run("install-client.sh", str(tmp_path), environment={"PATH": f"{programs}:{os.environ['PATH']}"})

    update, install = (tmp_path / "apt-get").read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith(" install -y python3-venv")


def test_what_the_tool_needs_in_an_image_is_what_is_tested_here(root: Path) -> None:
    """Else `make lock` mends it."""
    pinned = re.compile(r"^([a-z0-9-]+)==([^\s;\\]+)", re.MULTILINE)
    lock = dict(pinned.findall((root / "requirements.txt").read_text()))
    image = dict(pinned.findall((SCRIPTS / "requirements.txt").read_text()))

    assert image == {name: lock[name] for name in image}
    assert image.keys() - {"colorama"} == needed("boto3", "rich", "typer") - {"colorama"}  # which is Windows'


def needed(*names: str) -> set[str]:
    """Return packages and what they need, as they are installed here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        each = [Requirement(one) for one in requires(name) or ()]
        waiting += [one.name for one in each if not one.marker or one.marker.evaluate({"extra": ""})]
    return found
