"""The toolchain's choices: what of PATH will do, what is built, what a failure says. Programs are stand-ins."""

import hashlib
import io
import tarfile
import threading
import tomllib
from pathlib import Path

import pytest

from buildkit_ops.architecture import Architecture
from local import toolchain
from local.go_programs import ToolchainError
from local.toolchain import BUILDKIT, BUILDX, DEBIAN_PACKAGES, GO_PROGRAMS, install_toolchain

BUILDERS_TOML = Path(__file__).parent.parent / "builders.toml"

# Stands in for Go: writes down how it was called, and builds programs that say the version they were given.
GO = """#!/bin/sh
echo "$*" >>"{log}"
case $1 in
version) echo "go version {version} linux/amd64" ;;
mod) echo '{{"Dir": "/nowhere"}}' ;;
build)
  {build}
  for argument; do
    case $argument in
    -o=*) output=${{argument#-o=}} ;;
    -ldflags=*) version=${{argument##*=}} ;;
    esac
  done
  printf '#!/bin/sh\\necho built %s\\n' "$version" >"$output"
  chmod +x "$output"
  ;;
esac
"""


class Machine:
    """A PATH of stand-ins, and an empty cache."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = directory / "cache"
        self.path = directory / "path"
        self.path.mkdir()
        self._go_log = directory / "go.log"
        self._go_log.touch()
        self._apt_log = directory / "apt.log"
        package = io.BytesIO()
        with tarfile.open(fileobj=package, mode="w") as tar:
            for name in ("aarch64", "x86_64"):
                tar.addfile(tarfile.TarInfo(f"./usr/bin/qemu-{name}-static"))
        monkeypatch.setattr(toolchain, "CACHE", self.cache)
        monkeypatch.setattr(toolchain, "fetch_packages", lambda *_, **__: [package.getvalue()])
        monkeypatch.setenv("PATH", f"{self.path}:/usr/bin:/bin")
        for name in DEBIAN_PACKAGES:
            self.add(name, "1.0")
        self.add_go()

    def add(self, name: str, version: str) -> None:
        self._write(name, f"#!/bin/sh\necho {name} {version}\n")

    def add_go(self, version: str = "go1.26.3", build: str = ":") -> None:
        self._write("go", GO.format(log=self._go_log, version=version, build=build))

    def add_apt(self) -> None:
        self._write("apt-get", f'#!/bin/sh\necho "$*" >>"{self._apt_log}"\n')

    @property
    def apt_calls(self) -> list[str]:
        return self._apt_log.read_text().splitlines()

    @property
    def go_builds(self) -> list[str]:
        return [line for line in self._go_log.read_text().splitlines() if line.startswith("build")]

    def _write(self, name: str, script: str) -> None:
        (self.path / name).write_text(script)
        (self.path / name).chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_local_builders_run_the_release_that_a_deployment_installs() -> None:
    assert tomllib.loads(BUILDERS_TOML.read_text())["buildkit"]["version"] == BUILDKIT.version


def test_a_program_of_the_pinned_version_on_path_is_used(machine: Machine) -> None:
    machine.add("buildx", BUILDX.version)

    found = install_toolchain()

    assert (found.bin_directory / "buildx").resolve() == machine.path / "buildx"
    assert not [build for build in machine.go_builds if build.endswith("./cmd/buildx")]


@pytest.mark.parametrize("version", ["0.0.0+unknown", "v0.36.0"])
def test_a_program_of_another_version_is_not(machine: Machine, version: str) -> None:
    machine.add("buildx", version)

    found = install_toolchain()

    (build,) = [build for build in machine.go_builds if build.endswith("./cmd/buildx")]
    assert f"-X {BUILDX.version_variable}={BUILDX.version}" in build
    assert not (found.bin_directory / "buildx").is_symlink()


def test_every_program_is_there_and_in_the_archive_under_its_releases_name(machine: Machine) -> None:
    found = install_toolchain()

    names = {name for program in GO_PROGRAMS for name in program.packages.values()}
    assert names <= {path.name for path in found.bin_directory.iterdir()}
    for packed in found.archives.values():
        with tarfile.open(packed) as archive:
            assert set(archive.getnames()) == {
                f"bin/{name}" for name in (names - {"buildx"}) | {"buildkit-runc", toolchain.EMULATOR}
            }
    assert machine.cache in found.bin_directory.parents


def test_each_architectures_archive_has_its_releases_name_and_a_sum_of_its_own(machine: Machine) -> None:
    assert machine.cache

    archives = install_toolchain().archives

    url = tomllib.loads(BUILDERS_TOML.read_text())["buildkit"]["url"]
    for architecture, archive in archives.items():
        wanted = url.replace("{version}", BUILDKIT.version).replace("{architecture}", architecture.oci_name)
        assert archive.name == wanted.rpartition("/")[2]
    assert len({hashlib.sha256(archive.read_bytes()).digest() for archive in archives.values()}) == len(Architecture)


def test_a_second_run_builds_nothing(machine: Machine) -> None:
    install_toolchain()
    builds = machine.go_builds

    install_toolchain()

    assert machine.go_builds == builds


def test_two_runs_at_once_build_once(machine: Machine) -> None:
    machine.add_go(build="sleep 0.1")
    runs = [threading.Thread(target=install_toolchain) for _ in range(2)]

    for run in runs:
        run.start()
    for run in runs:
        run.join()

    assert len(machine.go_builds) == sum(len(program.packages) for program in GO_PROGRAMS)


def test_what_takes_long_is_told(machine: Machine) -> None:
    told: list[str] = []

    install_toolchain(told.append)
    first = "\n".join(told)
    told.clear()
    install_toolchain(told.append)

    assert all(program.module in first for program in GO_PROGRAMS)
    assert told == []
    assert machine.go_builds


def test_a_failed_build_says_why_and_leaves_no_program(machine: Machine) -> None:
    machine.add_go(build="echo 'checksum mismatch' >&2; exit 1")

    with pytest.raises(ToolchainError, match="checksum mismatch"):
        install_toolchain()

    assert [path for path in machine.cache.rglob("*") if path.is_file() and path.name != "lock"] == []


@pytest.mark.parametrize("reason", ["not root", "no apt-get"])
def test_missing_programs_are_named_with_their_packages(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(toolchain, "DEBIAN_PACKAGES", {"absent": "package-b", "missing": "package-a", "runc": "runc"})
    monkeypatch.setenv("PATH", str(machine.path))
    if reason == "not root":
        machine.add("apt-get", "1.0")
    monkeypatch.setattr("os.geteuid", lambda: 1000 if reason == "not root" else 0)

    with pytest.raises(ToolchainError, match=r"apt-get install package-a package-b$"):
        install_toolchain()


def test_missing_programs_are_installed_by_root(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "DEBIAN_PACKAGES", {"absent": "package-b", "runc": "runc"})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    machine.add_apt()

    install_toolchain()

    assert machine.apt_calls == ["update", "install --yes --no-install-recommends package-b"]


def test_a_program_that_was_used_from_path_and_then_changed_is_built(machine: Machine) -> None:
    machine.add("buildx", BUILDX.version)
    install_toolchain()
    machine.add("buildx", "v0.36.0")

    found = install_toolchain()

    assert not (found.bin_directory / "buildx").is_symlink()
