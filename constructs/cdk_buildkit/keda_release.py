"""Which KEDA is installed, and from where."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class KedaRelease:
    """A version of KEDA, its chart and its images.

    Args:
        version: The chart's version. KEDA's own is the same, and the tag of its images.
        chart_repository: The URL of the Helm repository that has the chart, KEDA's own or a mirror: `https://` or,
            for a registry, `oci://`, the chart's name included.
        image_registry: The registry that has the images under `kedacore/`, such as a mirror. Default: KEDA's own.
        operator_digest: The digest of the image `keda`, as `docker buildx imagetools inspect` prints it first.
            Default: the image that the version's tag names when a node pulls it.
        metrics_server_digest: Likewise of `keda-metrics-apiserver`.

    Raises:
        ValueError: The version is none, a URL has no scheme, or a digest is none.
    """

    version: str = "2.20.2"
    chart_repository: str = "https://kedacore.github.io/charts"
    image_registry: str | None = None
    operator_digest: str | None = None
    metrics_server_digest: str | None = None

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ValueError(
                f"keda.version is a whole version, such as 2.20.2; got {self.version!r}: name one that the chart's "
                "repository has"
            )
        if not self.chart_repository.startswith(("https://", "oci://")):
            raise ValueError(
                "keda.chart_repository is a URL that begins with https:// or oci://; got "
                f"{self.chart_repository!r}: give the repository's whole URL"
            )
        for name in ("operator_digest", "metrics_server_digest"):
            digest = getattr(self, name)
            if digest is not None and not _DIGEST.fullmatch(digest):
                raise ValueError(
                    f"keda.{name} is sha256:<64 hexadecimal digits>; got {digest!r}: take what `docker buildx "
                    "imagetools inspect` prints first for the image, or leave it out"
                )

    def tag(self, digest: str | None) -> str:
        """Return the tag of an image, with its digest when one is pinned."""
        return f"{self.version}@{digest}" if digest else self.version
