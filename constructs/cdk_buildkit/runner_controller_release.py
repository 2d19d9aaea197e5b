"""Which Actions Runner Controller is installed, and from where."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, kw_only=True)
class RunnerControllerRelease:
    """A version of GitHub's Actions Runner Controller, and where its two charts are.

    Args:
        version: The version of both charts.
        chart_registry: The registry that has them, GitHub's or a mirror, as an `oci://` URL without a chart's name.

    Raises:
        ValueError: The version is none, or the URL is not `oci://`.
    """

    version: str = "0.14.2"
    chart_registry: str = "oci://ghcr.io/actions/actions-runner-controller-charts"

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ValueError(
                f"runner_controller.version is a whole version, such as 0.14.2; got {self.version!r}: name one that "
                "the charts' registry has"
            )
        if not self.chart_registry.startswith("oci://"):
            raise ValueError(
                f"runner_controller.chart_registry is a URL that begins with oci://; got {self.chart_registry!r}: give "
                "the registry's whole URL, without a chart's name"
            )

    def chart_url(self, chart: str) -> str:
        """Where a chart is."""
        return f"{self.chart_registry.rstrip('/')}/{chart}"
