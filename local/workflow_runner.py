"""What runs workflows of GitHub Actions on this machine: nektos/act, in its host mode, which needs no containers.

`python -m local.workflow_runner` builds it, which takes minutes once, and fetches what the action's tool needs.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from local.deployment import REPOSITORY
from local.go_programs import CACHE, GoProgram, ToolchainError, install_by_itself, locked

REQUIREMENTS = REPOSITORY / "constructs" / "cdk_buildkit" / "runner" / "requirements.txt"
"""What the tool needs, each with its sum."""

ACT = GoProgram(
    module="github.com/nektos/act",
    version="v0.2.89",
    packages={".": "act"},
    version_variable="main.version",
    on_path=False,
)


def install_act() -> Path:
    """Build the program, once, and return its path.

    Raises:
        ToolchainError: It cannot be built here.
    """
    return install_by_itself(ACT)


def fetch_packages() -> Path:
    """Fetch the packages that the action installs for its tool, once, and return their directory.

    Raises:
        ToolchainError: They cannot be fetched.
    """
    name = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = CACHE / "action-packages"
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "lock"):
        if not (directory / name).exists():
            with tempfile.TemporaryDirectory(dir=directory) as temporary:
                unfinished = Path(temporary) / name
                _fetch(unfinished)
                unfinished.rename(directory / name)
    return directory / name


def _fetch(directory: Path) -> None:
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", f"--requirement={REQUIREMENTS}")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, f"--dest={directory}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolchainError(f"the packages of the action's tool could not be fetched:\n{done.stderr}")


def main() -> None:
    """Install all of it."""
    try:
        print(install_act())
        print(fetch_packages())
    except ToolchainError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
