"""What buildkitd remembers of the builds that have ended: how long they took, and what went wrong with their cache.

No input or output. Its log has only what failed a build (measured, v0.31.2): an export with `ignore-error=true` and an
import that find the cache closed are errors of a step in the build's record, and nowhere else.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, NamedTuple  # noqa: UP035 - collections.abc's are read by 3.11 alone

_COMPLETE = 1
_CACHE_STEPS = ("exporting cache to Amazon S3", "importing cache manifest from s3:")
_S3_ERROR = "operation error S3"


class BuildRecord(NamedTuple):
    """A build that has ended: its reference, when (seconds since the epoch), and how long it took."""

    ref: str
    ended: float
    seconds: float


def parse_records(lines: Iterable[str]) -> list[BuildRecord]:
    """Read what `buildctl debug histories` prints as JSON, without builds that still run.

    Raises:
        ValueError: It is something else.
    """
    records = []
    for line in lines:
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            if event.get("type") == _COMPLETE:
                record = event["record"]
                created, ended = _seconds(record["CreatedAt"]), _seconds(record["CompletedAt"])
                records.append(BuildRecord(record["Ref"], ended, ended - created))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a build's record: {line[:200]}") from error
    return records


def has_cache_error(lines: Iterable[str]) -> bool:
    """Tell from a build's progress, as `buildctl debug logs --progress=rawjson` prints it, whether its cache failed.

    A cache that does not have what is asked for has not failed.
    """
    return any(_is_cache_error(vertex) for line in lines if '"error"' in line for vertex in _vertexes(line))


def _is_cache_error(vertex: Mapping[str, Any]) -> bool:
    error = vertex.get("error") or ""
    return bool(error) and (_S3_ERROR in error or str(vertex.get("name", "")).startswith(_CACHE_STEPS))


def _vertexes(line: str) -> list[Mapping[str, Any]]:
    try:
        status = json.loads(line)
    except ValueError:
        return []
    return status.get("vertexes") or [] if isinstance(status, dict) else []


def _seconds(timestamp: Mapping[str, int]) -> float:
    return timestamp["seconds"] + timestamp.get("nanos", 0) / 1e9
