"""The release that `make local` deploys: this machine's archives, by HTTPS, in the place of BuildKit's own."""

import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from buildkit_ops.architecture import Architecture
from local.release import ReleaseServer
from stacks.config import load_config


@pytest.fixture
def archives(tmp_path: Path) -> Mapping[Architecture, Path]:
    paths = {each: tmp_path / f"buildkit-v0.31.2.linux-{each.oci_name}.tar.gz" for each in Architecture}
    for architecture, path in paths.items():
        path.write_text(f"for {architecture}")
    return paths


@pytest.fixture
def server(archives: Mapping[Architecture, Path], tmp_path: Path) -> Iterator[ReleaseServer]:
    with ReleaseServer(archives, tmp_path / "server") as server:
        yield server


def test_a_configuration_keeps_all_but_the_releases_place_and_sums(
    server: ReleaseServer, root: Path, tmp_path: Path
) -> None:
    configured = tmp_path / "builders.toml"

    server.configure(root / "builders.toml", configured)

    before, after = load_config(root / "builders.toml"), load_config(configured)
    assert after.buildkit.version == before.buildkit.version
    assert (after.buildkit.url, after.buildkit.sha256) != (before.buildkit.url, before.buildkit.sha256)
    assert (after.network, after.cache, after.builders) == (before.network, before.cache, before.builders)


def test_the_archives_are_where_the_configuration_says(
    server: ReleaseServer, archives: Mapping[Architecture, Path], root: Path, tmp_path: Path
) -> None:
    configured = tmp_path / "builders.toml"
    server.configure(root / "builders.toml", configured)
    release = load_config(configured).buildkit
    trust = ssl.create_default_context(cafile=str(server.authority_file))

    for architecture, path in archives.items():
        url = release.url.replace("{version}", release.version).replace("{architecture}", architecture.oci_name)
        with urllib.request.urlopen(url, context=trust, timeout=10) as response:  # noqa: S310 - https
            assert response.read() == path.read_bytes()


def test_a_configuration_that_says_nothing_of_the_release_gets_one(server: ReleaseServer, tmp_path: Path) -> None:
    (tmp_path / "builders.toml").write_text('[builders.main]\narchitectures = ["arm64"]\n')

    server.configure(tmp_path / "builders.toml", tmp_path / "configured.toml")

    assert load_config(tmp_path / "configured.toml").buildkit.url.startswith(server.url)


def test_a_configuration_with_half_a_release_is_refused(server: ReleaseServer, tmp_path: Path) -> None:
    (tmp_path / "builders.toml").write_text('[buildkit]\nversion = "v0.31.2"\n')

    with pytest.raises(ValueError, match=r"has url below \[buildkit\] once; got it 0 times: write it there"):
        server.configure(tmp_path / "builders.toml", tmp_path / "configured.toml")
