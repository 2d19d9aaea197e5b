"""Clients of builders that are pods."""

import itertools
from collections.abc import Callable
from pathlib import Path

from buildkit_ops.cache_scope import CacheOptions
from local.client import Build, Client
from local.lab import Reachable

QUICK = {"SETTLING_SECONDS": "2", "PUBLISH_SECONDS": "1"}
"""AWS takes up to two minutes until no load balancer knows a pod any more; here nothing has to settle."""

NewClient = Callable[[str, Reachable], Client]

_numbers = itertools.count()


class Builds:
    """Builds of given lengths, each unlike any other."""

    def __init__(self, client: Client, directory: Path, arguments: list[str]) -> None:
        self._client = client
        self._directory = directory
        self._arguments = arguments

    def build(self, step: str, options: CacheOptions | None = None, *, number: int | None = None) -> Build:
        number = next(_numbers) if number is None else number
        context = self._directory / f"context-{next(_numbers)}"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM busybox\nRUN {step} && echo {number} >/made\nRUN cat /made\n")
        return self._client.build(context, options=options, arguments=self._arguments)
