"""Brings the bucket to hold a release's archives, each checked. May be called at any time, twice at once too."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from cdk_buildkit.handlers.release.archive_store import ArchiveStore
from cdk_buildkit.handlers.release.download import download
from cdk_buildkit.handlers.release.https_opener import shown


class WrongSumError(Exception):
    """What a server sent is not what was pinned; the message says what both are."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive that the bucket should hold.

    Args:
        url: Where it comes from.
        sha256: What it must be, in hexadecimal digits.
        key: Its key in the bucket. Another sum is another key.
    """

    url: str
    sha256: str
    key: str


def copy_archives(store: ArchiveStore, archives: Sequence[Archive], *, deadline: float) -> list[str]:
    """Copy the archives that are not there yet.

    Args:
        store: The bucket.
        archives: What it should hold.
        deadline: When to give up, on the monotonic clock.

    Returns:
        The keys of those that were copied. None, when all were there.

    Raises:
        WrongSumError: A server has another file than the one that was pinned.
        DownloadError: A server does not send a file.
        StoreError: The bucket does not take one.
    """
    copied = []
    for archive in archives:
        if store.holds(archive.key, archive.sha256):
            continue
        with tempfile.TemporaryFile() as file:
            found = download(archive.url, file, deadline=deadline)
            if found != archive.sha256:
                raise WrongSumError(
                    f"{shown(archive.url)}: got {file.tell()} bytes with the SHA-256 {found}, allowed "
                    f"{archive.sha256}: correct the release's sha256, version or url, and take the sum from where the "
                    "release is published, never from what has just come; nothing was stored"
                )
            store.put(archive.key, file, archive.sha256)
        copied.append(archive.key)
    return copied
