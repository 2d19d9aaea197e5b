"""Publish what the builder's BuildKit does: builds, steps, durations, cache errors, and how full its store is."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from typing import Callable  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

from . import build_records, buildkit_metrics
from .log import log
from .publisher import Datum, Publisher

LOOK_SECONDS = 15.0
"""Time between two looks. What a build counts when it ends less than that before its daemon is not seen."""

DEBUG_SOCKET = "/run/buildkit/debug.sock"
STORE = "/var/lib/buildkit"
BUILDCTL = "/usr/local/bin/buildctl"
"""Where it is on EC2; in a pod the environment says where."""

_PATIENCE_SECONDS = 5
_OK = 200


class LookError(Exception):
    """buildkitd does not say what it is asked; the message says why."""


class Observer:
    """Looks at buildkitd from time to time, and gives what it sees to the publisher.

    Args:
        publisher: Sends it.
        is_serving: Tells whether buildkitd should answer: it need not while the builder drains.
    """

    def __init__(self, publisher: Publisher, is_serving: Callable[[], bool]) -> None:
        self._publisher = publisher
        self._is_serving = is_serving
        self._since = time.time()
        self._counters: buildkit_metrics.Counters | None = None
        self._seen: set[str] = set()

    def watch(self) -> None:
        """Look; returns never."""
        while True:
            next_look = time.monotonic() + LOOK_SECONDS
            self.look()  # at once: what is counted from now on is new
            # A daemon that hangs must not be asked less often, or an alarm on how often it did not answer is silent.
            time.sleep(max(0.0, next_look - time.monotonic()))

    def look(self) -> None:
        """Look once."""
        self._add("StoreUsedPercent", store_used_percent(), "Percent")
        try:
            self._count()
            self._read_records()
        except LookError as error:
            if self._is_serving():
                log("look_failed", error=str(error))
                self._add("Unanswered", 1, "Count")

    def _count(self) -> None:
        try:
            now = buildkit_metrics.parse(scrape())
        except ValueError as error:
            raise LookError(str(error)) from error
        for name, value in buildkit_metrics.growth(self._counters, now, watched_since=self._since).items():
            self._add(name, value, "Count")
        self._counters = now

    def _read_records(self) -> None:
        try:
            records = build_records.parse_records(_buildctl("histories", "--format={{json .}}"))
        except ValueError as error:
            raise LookError(str(error)) from error
        new = [record for record in records if record.ref not in self._seen and record.ended >= self._since]
        self._seen = {record.ref for record in records}
        for record in new:
            self._add("BuildDuration", record.seconds, "Seconds", record.ended)
            if build_records.has_cache_error(_buildctl("logs", "--progress=rawjson", record.ref)):
                log("cache_error", ref=record.ref)
                self._add("CacheErrors", 1, "Count", record.ended)

    def _add(self, name: str, value: float, unit: str, at: float | None = None) -> None:
        self._publisher.add(Datum(name, value, at or time.time(), unit=unit))


def scrape(path: str = DEBUG_SOCKET) -> str:
    """Return buildkitd's page of metrics.

    Raises:
        LookError: There is none.
    """
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LookError(f"{path}: {error}") from error
    finally:
        connection.close()
    if answer.status != _OK:
        raise LookError(f"{path}: status {answer.status}")
    return text


def store_used_percent(path: str = STORE) -> float:
    """Return how much of the store's file system is taken, of what is not kept back for root."""
    status = os.statvfs(path)
    used = status.f_blocks - status.f_bfree
    return round(100 * used / (used + status.f_bavail), 1)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE_SECONDS)
        self.sock.connect(self._path)


def _buildctl(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(
            [os.environ.get("BUILDCTL", BUILDCTL), "debug", *arguments],
            check=False,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise LookError(f"buildctl debug {arguments[0]}: no answer in {_PATIENCE_SECONDS} s") from error
    if done.returncode:
        raise LookError(f"buildctl debug {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    # The progress of a build goes to standard error.
    return (done.stdout + b"\n" + done.stderr).decode(errors="replace").splitlines()
