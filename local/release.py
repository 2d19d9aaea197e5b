"""BuildKit's release as this machine has it, on a server from which the deployment's function copies it."""

import functools
import hashlib
import re
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from buildkit_ops.architecture import Architecture
from local.https_server import HttpsServer

_SECTION = "\n[buildkit]\n"


class ReleaseServer(HttpsServer):
    """Serves the archives, in the place of the host that `builders.toml` names.

    Args:
        archives: The archive of each architecture, all in one directory and named as BuildKit's releases are.
        directory: For its key and certificates.
    """

    def __init__(self, archives: Mapping[Architecture, Path], directory: Path) -> None:
        (place,) = {archive.parent for archive in archives.values()}
        super().__init__(functools.partial(_Handler, directory=str(place)), directory)
        self._archives = archives

    def configure(self, config: Path, configured: Path) -> None:
        """Write a configuration that differs from a given one in the release's URL and sums alone.

        Args:
            config: A configuration that has both, or none of them.
            configured: Where to write.

        Raises:
            ValueError: It has one of them, or one twice.
        """
        settings = {
            "url": f"{self.url}/buildkit-{{version}}.linux-{{architecture}}.tar.gz",
            **{architecture.value: _sha256(archive) for architecture, archive in self._archives.items()},
        }
        text = f"\n{config.read_text()}"
        if _SECTION in text:
            for key, value in settings.items():
                text = _replaced(text, key, value)
        else:
            url, *sums = (f'{key} = "{value}"\n' for key, value in settings.items())
            text += f"{_SECTION}{url}[buildkit.sha256]\n{''.join(sums)}"
        configured.write_text(text)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: who asks has an answer."""


def _replaced(text: str, key: str, value: str) -> str:
    head, section, tail = text.partition(_SECTION)
    tail, count = re.subn(rf'^{key} = "[^"]*"$', f'{key} = "{value}"', tail, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"a configuration has {key} below [buildkit] once; got it {count} times: write it there")
    return f"{head}{section}{tail}"


def _sha256(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
