"""Which BuildKit the builders run, where it comes from and what its archives' sums must be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from buildkit_ops.architecture import Architecture

DEFAULT_SHA256 = {
    Architecture.ARM64: "41fba1eed480376934fa4c8177ddd7021036b5168a0eb8e7ab5eccdf75d47a05",
    Architecture.X86_64: "fbabdb72433a35f5bb646e4cd424bf8567e5d055710cf55840f7af2020640791",
}
"""SHA-256 of the archives of the default version."""


@dataclass(frozen=True, kw_only=True)
class BuildKitRelease:
    """A pinned BuildKit release: the archive of each architecture with its SHA-256.

    Args:
        version: The release's tag. A version other than the default needs `sha256` too.
        url: Where the archives are, an https URL with `{architecture}` (`amd64`, `arm64`) and, usually, `{version}`
            in it. It is in the template for everybody to see: no user's name or password.
        sha256: Hexadecimal SHA-256 of each architecture's archive.

    Raises:
        ValueError: The URL is not https, lacks its placeholder or has a user's name, or a sum is not 64 hexadecimal
            digits.
    """

    version: str = "v0.31.2"
    url: str = (
        "https://github.com/moby/buildkit/releases/download/{version}/buildkit-{version}.linux-{architecture}.tar.gz"
    )
    sha256: Mapping[Architecture, str] = field(default_factory=lambda: DEFAULT_SHA256)

    def __post_init__(self) -> None:
        if not self.url.startswith("https://") or "{architecture}" not in self.url:
            raise ValueError(
                f"a BuildKit release's URL begins with https:// and holds {{architecture}}; got {self.url!r}: "
                "put {architecture} where the archive's name says amd64 or arm64"
            )
        if "@" in self.url.removeprefix("https://").partition("/")[0]:
            raise ValueError(
                "a BuildKit release's URL has no user's name, for the template shows it to everybody; got one: "
                "take a server that asks for none"
            )
        for architecture, value in self.sha256.items():
            if not re.fullmatch(r"[0-9a-f]{64}", value):
                raise ValueError(
                    f"the SHA-256 of the {architecture} archive is 64 hexadecimal digits; got {value!r}: "
                    "take it from `sha256sum` of the archive"
                )

    def archive_url(self, architecture: Architecture) -> str:
        """Where the architecture's archive is."""
        return self.url.replace("{version}", self.version).replace("{architecture}", architecture.oci_name)
