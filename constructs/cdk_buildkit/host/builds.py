"""How many builds run on this builder: the kernel lists a connection to buildkitd for each."""

from __future__ import annotations

from pathlib import Path

from .drain_rules import count_connections

BUILDKIT_PORT = 1234

IN_FLIGHT_BUILDS = "InFlightBuilds"
"""The metric of them."""


def count_builds() -> int:
    """Return the number of running builds."""
    tables = (path.read_text() for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists())
    return count_connections(tables, BUILDKIT_PORT)
