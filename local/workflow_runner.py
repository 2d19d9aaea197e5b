"""What runs workflows of GitHub Actions on this machine: nektos/act, in its host mode, which needs no containers.

`python -m local.workflow_runner` builds it, which takes minutes once.
"""

import sys
from pathlib import Path

from local.go_programs import CACHE, GoProgram, ToolchainError, install_program, locked

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
    directory = CACHE / f"act-{ACT.version}"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "act"
    with locked(directory / "lock"):
        if not program.exists():
            install_program(ACT, directory, directory)
    return program


def main() -> None:
    """Install it."""
    try:
        print(install_act())
    except ToolchainError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
