"""What reading one scope and writing another costs: `python -m bench.tiers` builds, and records `results/tiers.json`.

One image, unchanged, on a fresh builder each time: main exports it, main builds it again, pull requests build it from
main's scope into their own, and again. A builder exports to its own scope every layer that the scope has not.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from local.base_image import base_image_option
from local.cases import EXAMPLE
from local.go_programs import CACHE
from local.lab import ARCHITECTURE, Lab
from local.sandbox import in_sandbox, run_in_sandbox
from local.toolchain import install_toolchain

CONFIGURATION = Path(__file__).with_suffix(".toml")
RESULT = Path(__file__).parent / "results" / "tiers.json"

MAIN = CacheScope("main")
PULL_REQUESTS = CacheScope("pull-requests")
NAME = cache_name("node-app", "main")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One build on a fresh builder.

    Args:
        name: `first export`, `own scope`, `other scope`, `other scope again`.
        seconds: From the client's start to its end.
        steps: Steps of the Dockerfile.
        cached_steps: Those of them that came from a cache.
        read_bytes: What the cache bucket sent meanwhile.
        written_bytes: What it took.
    """

    name: str
    seconds: float
    steps: int
    cached_steps: int
    read_bytes: int
    written_bytes: int


def main() -> None:
    """Measure in a sandbox."""
    if in_sandbox():
        with Console(stderr=True).status("starting") as status:
            builds = measure(Path(sys.argv[1]), status.update)
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({"ratios": ratios(builds), "builds": list(map(asdict, builds))}, indent=2) + "\n")
        show(builds)
        return
    install_toolchain()
    directory = tempfile.mkdtemp(prefix="bench-tiers-")
    try:
        sys.exit(run_in_sandbox([sys.executable, "-m", "bench.tiers", directory]))
    finally:
        subprocess.run(["rm", "-rf", directory], check=True)


def measure(directory: Path, progress: Callable[[str], None]) -> list[Measured]:
    """Build the example four times, in a directory that is the caller's to remove."""
    toolchain = install_toolchain(progress)
    base_image = base_image_option(CACHE / "images", progress=progress)
    context = directory / "context"
    shutil.copytree(EXAMPLE, context)
    with Lab(directory, config=CONFIGURATION, toolchain=toolchain, progress=progress) as lab:
        lab.deploy()

        def build(name: str, scope: CacheScope, options: CacheOptions) -> Measured:
            with lab.builder(scope.name) as builder:
                position = lab.emulator.log.position
                client = lab.client(scope.name, {ARCHITECTURE: builder})
                done = client.build(
                    context,
                    options=options,
                    arguments=base_image,
                    progress=lambda step: progress(f"{name}: {step}"),
                )
                requests = lab.cache_requests(since=position)
            return Measured(
                name=name,
                seconds=done.seconds,
                steps=done.steps,
                cached_steps=done.cached_steps,
                read_bytes=sum(each.bytes_out for each in requests),
                written_bytes=sum(each.bytes_in for each in requests),
            )

        own = cache_options(MAIN, NAME)
        other = cache_options(PULL_REQUESTS, NAME, read_scopes=[MAIN])
        return [
            build("first export", MAIN, own),
            build("own scope", MAIN, own),
            build("other scope", PULL_REQUESTS, other),
            build("other scope again", PULL_REQUESTS, other),
        ]


def ratios(builds: Sequence[Measured]) -> dict[str, float]:
    """Return how a build that writes another scope than it reads compares with one that writes the same."""
    first, own, other, again = builds
    return {
        "written bytes, other scope to first export": round(other.written_bytes / first.written_bytes, 3),
        "read bytes, other scope to own scope": round(other.read_bytes / own.read_bytes, 2),
        "seconds, other scope to own scope": round(other.seconds / own.seconds, 2),
        "seconds, other scope again to own scope": round(again.seconds / own.seconds, 2),
    }


def show(builds: Sequence[Measured]) -> None:
    """Print the builds and the ratios."""
    table = Table(title="One unchanged image, a fresh builder each time")
    for heading in ("build", "seconds", "cached steps", "S3 read", "S3 written"):
        table.add_column(heading, justify="left" if heading == "build" else "right")
    for each in builds:
        sizes = (f"{size / 1e6:.1f} MB" for size in (each.read_bytes, each.written_bytes))
        table.add_row(each.name, f"{each.seconds:.1f}", f"{each.cached_steps} of {each.steps}", *sizes)
    console = Console()
    console.print(table)
    for name, ratio in ratios(builds).items():
        console.print(f"{name}: {ratio}")


if __name__ == "__main__":
    main()
