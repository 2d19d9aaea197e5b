"""Fixtures of the attacks: an image with Python, a builder of two fleets each, and who attacks them."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.base_image.debian import fetch_packages
from local.base_image.oci_layout import FileSystem, Image, write_oci_layout
from local.builder import Builder
from local.go_programs import CACHE
from local.lab import ARCHITECTURE, Lab
from tests.attacker import Attacker, inside, plain_runc


@pytest.fixture(scope="session")
def attacker_image() -> list[str]:
    """Make an image of Debian's Python, once on a machine."""
    layout = CACHE / "images" / f"python-{ARCHITECTURE.oci_name}"
    if not layout.exists():
        files = FileSystem()
        for path in ("bin", "lib", "lib64", "sbin"):  # Debian's merged /usr, before the first package
            files.add_directory(f"usr/{path}")
            files.add_link(path, f"usr/{path}")
        for archive in fetch_packages(["base-files", "python3"], ARCHITECTURE, dependencies=True):
            files.add_archive(archive, leave_out=["usr/share"])
        layout.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{layout.name}-", dir=layout.parent))
        write_oci_layout(
            unfinished,
            [Image(architecture=ARCHITECTURE, files=files, environment={"PATH": "/usr/bin"}, command=["python3"])],
        )
        unfinished.rename(layout)
    return ["--build-context", f"attacker=oci-layout://{layout}"]


@pytest.fixture(scope="session")
def probe(root: Path) -> Path:
    return root / "tests" / "attack_probe.py"


@pytest.fixture(scope="session")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder("main") as builder:
        yield builder


@pytest.fixture(scope="session")
def other_builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder("pull-requests") as builder:
        yield builder


@pytest.fixture(scope="session")
def make_attacker(
    lab: Lab, attacker_image: list[str], probe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Builder], Attacker]:
    def make(fleet: str, builder: Builder) -> Attacker:
        client = lab.client(fleet, {ARCHITECTURE: builder})
        return Attacker(client, tmp_path_factory.mktemp("attacks"), image=attacker_image, probe=probe)

    return make


@pytest.fixture(scope="session")
def attacker(make_attacker: Callable[[str, Builder], Attacker], builder: Builder) -> Attacker:
    return make_attacker("main", builder)


@pytest.fixture(scope="session")
def other_attacker(make_attacker: Callable[[str, Builder], Attacker], other_builder: Builder) -> Attacker:
    return make_attacker("pull-requests", other_builder)


@pytest.fixture
def raw_sockets(builder: Builder) -> Iterator[None]:
    """Let steps send frames of their own making."""
    with plain_runc(builder):
        yield


@pytest.fixture
def on_builder(builder: Builder, probe: Path, tmp_path: Path) -> Callable[..., str]:
    """Let the probe try something in the builder's own network."""

    def on_builder(*command: str) -> str:
        got = tmp_path / "got"
        subprocess.run([*inside(builder), sys.executable, str(probe), str(got), *command], check=True)
        return got.read_text()

    return on_builder
