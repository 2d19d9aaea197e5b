"""A function's code on this machine: unpacked once per version, with stand-ins for what was compiled for another."""

import csv
import io
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from threading import Lock

from local.emulator.errors import NotEmulatedError

RUNTIME_DISTRIBUTIONS = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
"""What Lambda's Python runtime has beside the standard library
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html)."""

_ELF = b"\x7fELF"
_MACHINE_FIELD = slice(18, 20)
_UNPACKING = Lock()


@dataclass(frozen=True)
class Code:
    """Unpacked code.

    Args:
        root: What was uploaded.
        stand_ins: Links to what stands in for a part of it, to be found first.
    """

    root: Path
    stand_ins: Path


def unpack(archive: bytes, digest: str, directory: Path) -> Code:
    """Unpack a function's code, unless that has been done.

    Args:
        archive: What was uploaded, a zip file.
        digest: Its SHA-256.
        directory: Where unpacked code is kept.

    Raises:
        NotEmulatedError: A compiled module is not for this machine, and nothing can stand in for it.
    """
    target = directory / digest
    code = Code(root=target / "root", stand_ins=target / "stand-ins")
    with _UNPACKING:
        if not target.exists():
            half = directory / f"{digest}.part"
            shutil.rmtree(half, ignore_errors=True)
            with zipfile.ZipFile(io.BytesIO(archive)) as content:
                content.extractall(half / "root")
            link_distributions(_foreign_distributions(half / "root"), half / "stand-ins")
            half.rename(target)
    return code


def link_distributions(names: Iterator[str] | tuple[str, ...], directory: Path) -> None:
    """Make a directory from which exactly these of the installed distributions can be imported.

    Raises:
        NotEmulatedError: One is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            raise NotEmulatedError(f"{name} must be installed here to stand in for a function's: it is not") from None
        tops = {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}
        for top in tops:
            link = directory / top
            if not top.endswith(".dist-info") and not link.is_symlink():
                link.symlink_to(str(installed.locate_file(top)))


def _foreign_distributions(root: Path) -> Iterator[str]:
    """Yield the names of the distributions that cannot be loaded on this machine, each once."""
    owners = dict(_files_by_distribution(root))
    foreign = [path.relative_to(root).as_posix() for path in root.rglob("*.so") if not _can_be_loaded(path)]
    for path in foreign:
        if path not in owners:
            raise NotEmulatedError(f"{path} was compiled for another machine and belongs to no distribution")
    yield from sorted({owners[path] for path in foreign})


def _files_by_distribution(root: Path) -> Iterator[tuple[str, str]]:
    for record in root.glob("*.dist-info/RECORD"):
        name = record.parent.name.split("-")[0]
        for path, *_ in csv.reader(record.read_text().splitlines()):
            yield path, name


def _can_be_loaded(path: Path) -> bool:
    suffix = "." + path.name.partition(".")[2]
    return suffix in EXTENSION_SUFFIXES and _machine(path) == _machine(Path(sys.executable))


def _machine(path: Path) -> bytes | None:
    with path.open("rb") as file:
        header = file.read(_MACHINE_FIELD.stop)
    return header[_MACHINE_FIELD] if header.startswith(_ELF) else None
