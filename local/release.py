"""BuildKit's release as this machine has it, on a server from which the deployment's function copies it."""

import functools
import hashlib
import re
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from buildkit_ops.architecture import Architecture
from local.https_server import HttpsServer


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
            config: A configuration that has them.
            configured: Where to write.

        Raises:
            ValueError: It does not have them, each once.
        """
        text = _replaced(config.read_text(), "url", f"{self.url}/buildkit-{{version}}.linux-{{architecture}}.tar.gz")
        for architecture, archive in self._archives.items():
            with archive.open("rb") as file:
                text = _replaced(text, architecture, hashlib.file_digest(file, "sha256").hexdigest())
        configured.write_text(text)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: who asks has an answer."""


def _replaced(text: str, key: str, value: str) -> str:
    head, section, tail = text.partition("\n[buildkit]\n")
    tail, count = re.subn(rf'^{key} = "[^"]*"$', f'{key} = "{value}"', tail, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"a configuration has {key} below [buildkit] once; got it {count} times: write it there")
    return f"{head}{section}{tail}"
