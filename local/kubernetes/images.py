"""The images of the pods' containers, as far as this machine can make them: it reaches no image registry.

BuildKit's is what its Dockerfile puts together but for git, from Debian's packages in place of Alpine's. The AWS
command line tool's is this machine's own file system, which has Python, as Amazon Linux has, and the tool.
https://github.com/moby/buildkit/blob/v0.31.2/Dockerfile
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.base_image.debian import fetch_packages
from local.base_image.oci_layout import FileSystem
from local.go_programs import locked
from local.kubernetes.objects import KubernetesError
from local.lab import ARCHITECTURE
from local.toolchain import Toolchain

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_FIREWALL = ("iptables", "iptables-restore", "iptables-save", "ip6tables", "ip6tables-restore", "ip6tables-save")
_TEMPORARY = ("run", "tmp", "var/tmp")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class ContainerImage:
    """An image.

    Args:
        root: The directory that a container's root file system begins as.
        links: What is in it besides: symbolic links, each with its target.
        hidden: Directories that are empty in it, whatever the root has there.
        kept: Directories of this machine that are in it nevertheless, and whatever a pod mounts above them.
        entrypoint: What a container runs when it is not told otherwise.
        command: The arguments of that.
        environment: Variables of its containers.
        directory: Where they start.
    """

    root: Path
    links: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[str] = ()
    kept: Sequence[str] = ()
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    environment: Mapping[str, str]
    directory: str = "/"


class Images:
    """Finds the images that pods name.

    Args:
        toolchain: The programs that BuildKit's image holds.
    """

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    def get(self, name: str) -> ContainerImage:
        """Return the image that a pod names, whatever registry it is from and whatever its digest.

        Raises:
            KubernetesError: There is no such image here.
        """
        repository = name.partition("@")[0]
        repository = "/".join(repository.split("/")[-2:]).partition(":")[0]
        if repository.endswith("/buildkit"):
            return ContainerImage(
                root=_buildkit_root(self._toolchain),
                entrypoint=["buildkitd"],
                environment={"PATH": _PATH, "BUILDKIT_SETUP_CGROUPV2_ROOT": "1"},
            )
        if repository.endswith("/aws-cli"):
            aws = Path(sys.executable).parent / "aws"
            return ContainerImage(
                root=Path("/"),
                links={"usr/local/bin/aws": str(aws)},
                hidden=_TEMPORARY,
                kept=[sys.prefix],  # the tool's, which may be in a checkout below /tmp
                entrypoint=["/usr/local/bin/aws"],
                environment={"PATH": _PATH},
                directory="/tmp",  # noqa: S108 - /aws there, which is as empty
            )
        raise KubernetesError(f"there is no image {name} here, but .../buildkit and .../aws-cli")


def _buildkit_root(toolchain: Toolchain) -> Path:
    programs = toolchain.archives[ARCHITECTURE]
    root = programs.parent / "image"
    with locked(programs.parent / "image.lock"):
        if not root.exists() or root.stat().st_mtime < programs.stat().st_mtime:
            _make_buildkit_root(root, programs)
    return root


def _make_buildkit_root(root: Path, programs: Path) -> None:
    files = FileSystem()
    for path in ("bin", "lib", "lib64", "sbin"):  # Debian's merged /usr, before the first package
        files.add_directory(f"usr/{path}")
        files.add_link(path, f"usr/{path}")
    for archive in fetch_packages(["busybox", "iptables", "libseccomp2", "pigz"], ARCHITECTURE, dependencies=True):
        files.add_archive(archive, leave_out=["usr/share", "var/lib/dpkg"])
    for name in _FIREWALL:
        files.add_link(f"usr/sbin/{name}", "xtables-nft-multi")
    for path in ("proc", "sys", "dev", "tmp", "run", "root", "etc/ssl/certs", "var/lib/buildkit"):
        files.add_directory(path, mode=0o1777 if path == "tmp" else 0o755)
    files.add_link("var/run", "/run")
    files.add_file("etc/ssl/certs/ca-certificates.crt", _CERTIFICATES.read_bytes())
    files.add_file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    files.add_file("etc/group", b"root:x:0:\n")
    unfinished = Path(tempfile.mkdtemp(prefix=".image-", dir=root.parent))
    with tarfile.open(fileobj=io.BytesIO(files.as_layer())) as layer:
        layer.extractall(unfinished, filter="fully_trusted")  # noqa: S202 - links lead to where Debian has them
    with tarfile.open(programs) as release:
        for member in release.getmembers():
            content = release.extractfile(member)
            if content:
                target = unfinished / "usr" / member.name
                target.write_bytes(content.read())
                target.chmod(0o755)
    subprocess.run(
        ["chroot", str(unfinished), "/bin/busybox", "--install", "-s", "/bin"], check=True, capture_output=True
    )
    unfinished.chmod(0o755)
    if root.exists():
        shutil.rmtree(root)
    unfinished.rename(root)
