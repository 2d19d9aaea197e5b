"""Writes OCI image layouts that are the same bytes for the same files.

Source: https://github.com/opencontainers/image-spec (image-layout.md, manifest.md, config.md).
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from buildkit_ops.architecture import Architecture

EPOCH = 1_767_225_600
"""The time of every file, 2026-01-01 in UTC: a clock would change the digest."""

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class FileSystem:
    """The files of one layer, by path, root's unless said otherwise. A later file replaces an earlier one."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def add_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Add a regular file at a path without a leading slash."""
        member = tarfile.TarInfo(path)
        member.mode = mode
        member.size = len(content)
        self._add(member, content)

    def add_directory(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """Add a directory; `owner` is its user and group id."""
        member = tarfile.TarInfo(path)
        member.type = tarfile.DIRTYPE
        member.mode = mode
        member.uid = member.gid = owner
        self._add(member)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        member = tarfile.TarInfo(path)
        member.type = tarfile.SYMTYPE
        member.mode = 0o777
        member.linkname = target
        self._add(member)

    def add_archive(self, archive: bytes, *, leave_out: Sequence[str] = ()) -> None:
        """Add the members of a tar archive, but for those under the directories to leave out.

        A member below a symbolic link that is already there goes where the link points, as it would on a disk.
        """
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            for member in members:
                path = self._resolve(str(PurePosixPath(member.name)))
                if any(PurePosixPath(path).is_relative_to(directory) for directory in leave_out):
                    continue
                if member.isdir() and (path in self._members or path == "."):
                    continue  # its first form stays: a package that ships /lib does not undo the link to usr/lib
                content = members.extractfile(member) if member.isreg() else None
                if member.islnk():
                    member.linkname = self._resolve(str(PurePosixPath(member.linkname)))
                member.name = path
                self._add(member, content.read() if content else b"")

    def as_layer(self) -> bytes:
        """Return the files as a tar archive: sorted, and with nothing in it of the machine or the time."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as layer:
            # A hard link has to come after the file that it names.
            for member, content in sorted(self._members.values(), key=lambda each: (each[0].islnk(), each[0].name)):
                layer.addfile(member, io.BytesIO(content))
        return archive.getvalue()

    def _add(self, member: tarfile.TarInfo, content: bytes = b"") -> None:
        member.mtime = EPOCH
        member.uname = member.gname = ""
        member.pax_headers = {}
        self._members[member.name] = (member, content)

    def _resolve(self, path: str) -> str:
        parts = PurePosixPath(path).parts
        link = self._members.get(parts[0]) if len(parts) > 1 else None
        return str(PurePosixPath(link[0].linkname, *parts[1:])) if link and link[0].issym() else path


@dataclass(frozen=True, kw_only=True)
class Image:
    """One platform's image of a single layer.

    Args:
        architecture: The platform's processor architecture.
        files: The layer.
        environment: Variables of its containers. Default: none.
        command: What they run when not told otherwise.
    """

    architecture: Architecture
    files: FileSystem
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str]


def write_oci_layout(directory: Path, images: Sequence[Image]) -> None:
    """Write images to an empty directory, as one image with as many platforms, tagged `latest`."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = [_write_image(blobs, image) for image in images]
    image = manifests[0]
    if len(manifests) > 1:
        image = _write_json(blobs, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}, _INDEX)
    tagged = {**image, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [tagged]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


def _write_image(blobs: Path, image: Image) -> dict[str, object]:
    layer = image.files.as_layer()
    config = {
        "architecture": image.architecture.oci_name,
        "os": "linux",
        "config": {
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "Cmd": list(image.command),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _write_json(blobs, config, _CONFIG),
        "layers": [_write_blob(blobs, gzip.compress(layer, compresslevel=6, mtime=0), _LAYER)],
    }
    platform = {"architecture": image.architecture.oci_name, "os": "linux"}
    return {**_write_json(blobs, manifest, _MANIFEST), "platform": platform}


def _write_json(blobs: Path, document: object, media_type: str) -> dict[str, object]:
    return _write_blob(blobs, json.dumps(document).encode(), media_type)


def _write_blob(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
