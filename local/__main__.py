"""`make local`: from builders.toml to a cached build on a fresh builder, on this machine, and a table of the times."""

import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from local.base_image import BaseImageError
from local.builder import BuilderError
from local.client import BuildError
from local.deployment import DeploymentError
from local.emulator.process import EmulatorError
from local.emulator.read_back import ReadBackError
from local.report import show, write
from local.run import run
from local.sandbox import SandboxError, in_sandbox, run_in_sandbox
from local.toolchain import ToolchainError, install_toolchain

REPORT = Path(".local/report.json")


def main() -> None:
    """Install what is missing, enter a sandbox, run there, report. Exits with 1 when a promise is broken."""
    console = Console(stderr=True)
    if not in_sandbox():
        try:
            with console.status("looking for BuildKit, buildx and runc") as status:
                install_toolchain(status.update)
            sys.exit(run_in_sandbox([sys.executable, "-m", "local"]))
        except (SandboxError, ToolchainError) as error:
            sys.exit(str(error))
    REPORT.parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=REPORT.parent.resolve()))
    try:
        with console.status("starting") as status:
            report = run(directory, status.update)
    except (BaseImageError, BuilderError, BuildError, DeploymentError, EmulatorError, ReadBackError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is left running")
    finally:
        shutil.rmtree(directory)
    write(report, REPORT)
    show(report, Console())
    console.print(f"The whole report is in {REPORT}")
    sys.exit(1 if list(report.failures()) else 0)


if __name__ == "__main__":
    main()
