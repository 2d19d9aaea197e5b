"""Tests on real builders: one deployment for the whole session, an image to build from, one test at a time."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_ops.architecture import Architecture
from local.base_image import make_busybox_image
from local.base_image.debian import fetch_packages
from local.deployment import REPOSITORY
from local.go_programs import CACHE
from local.lab import ARCHITECTURE, Lab
from local.sandbox import in_sandbox
from local.toolchain import Toolchain, install_toolchain


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests on real builders together, in one process, and those of every other file.

    Real builders have networks and names of their own in this machine's kernel, of which there is one.
    """
    for item in items:
        real = "toolchain" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("real builders" if real else item.path.name))


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """Find BuildKit, buildx and what they need; skip outside a sandbox."""
    if not in_sandbox():
        pytest.skip("real builders need a sandbox: run `make test`, or `python -m local.sandbox pytest`")
    return install_toolchain()


@pytest.fixture(scope="session")
def lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Deploy the default configuration to an emulated account that enforces IAM."""
    with Lab(tmp_path_factory.mktemp("lab"), config=REPOSITORY / "builders.toml", toolchain=toolchain) as lab:
        lab.deploy()
        yield lab


@pytest.fixture(scope="session")
def busybox_arguments() -> list[str]:
    """Return arguments of `buildx build` with which `FROM busybox` is a small image of both architectures."""
    layout = make_busybox_image(CACHE / "images", list(Architecture))
    return ["--build-context", f"busybox=oci-layout://{layout}"]


@pytest.fixture(scope="session")
def busybox() -> Path:
    """Find a busybox for this machine that needs no library, for images made `FROM scratch`."""
    path = CACHE / "images" / "busybox"
    if not path.exists():
        (package,) = fetch_packages(["busybox-static"], ARCHITECTURE, dependencies=False)
        with tarfile.open(fileobj=io.BytesIO(package)) as tar:
            program = tar.extractfile("./bin/busybox")
            assert program is not None  # noqa: S101 - a regular file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(program.read())
        path.chmod(0o755)
    return path
