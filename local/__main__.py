"""`make local`: from builders.toml to a cached build on a fresh builder, on this machine, and a table of the times."""

import subprocess
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
from local.go_programs import ToolchainError
from local.kubernetes.objects import KubernetesError
from local.report import show, write
from local.run import CONFIGURATIONS, run
from local.sandbox import SandboxError, in_sandbox, run_in_sandbox
from local.toolchain import install_toolchain

REPORT = Path(".local/report.json")


def main() -> None:
    """Install what is missing, enter a sandbox, run there, report. Exits with 1 when a promise is broken."""
    compute, *rest = sys.argv[1:] or ["ec2"]
    if compute not in CONFIGURATIONS:
        sys.exit(f"builders run on {' or '.join(CONFIGURATIONS)}; got {compute!r}: make local COMPUTE=eks")
    sys.exit(_run_here(compute, Path(rest[0])) if in_sandbox() else _run_in_sandbox(compute))


def _run_in_sandbox(compute: str) -> int | str:
    console = Console(stderr=True)
    REPORT.parent.mkdir(exist_ok=True)
    directory = tempfile.mkdtemp(prefix="run-", dir=REPORT.parent.resolve())
    try:
        with console.status("looking for BuildKit, buildx and runc") as status:
            install_toolchain(status.update)
        exit_code = run_in_sandbox([sys.executable, "-m", "local", compute, directory])
    except (SandboxError, ToolchainError) as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupted; nothing is left running"
    finally:
        # Out here, so that it happens even when the sandbox had to be killed.
        subprocess.run(["rm", "-rf", directory], check=True)
    if exit_code > 128:  # noqa: PLR2004 - a signal's, as a shell gives it
        console.print("interrupted; nothing is left running")
    return exit_code


def _run_here(compute: str, directory: Path) -> int | str:
    try:
        with Console(stderr=True).status("starting") as status:
            report = run(directory, compute, status.update)
    except (
        BaseImageError,
        BuilderError,
        BuildError,
        DeploymentError,
        EmulatorError,
        KubernetesError,
        ReadBackError,
    ) as error:
        return str(error)
    except KeyboardInterrupt:
        return 1
    write(report, REPORT)
    console = Console()
    show(report, console)
    console.print(f"The whole report is in {REPORT}")
    return 1 if list(report.failures()) else 0


if __name__ == "__main__":
    main()
