"""The log of the emulated account: every request to S3, every denial and every failure, one JSON line each."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """A request to S3 that has been answered.

    Args:
        method: The HTTP method.
        bucket: Empty where the request names none.
        key: Empty where the request names none.
        access_key: Whose signature it bore. None: it was not signed.
        principal: The ARN of that key's owner. None: the key is nobody's.
        bytes_in: Bytes of the body, without the framing of chunked signatures.
        bytes_out: Bytes of the answer's body.
        status: The HTTP status.
        time: Seconds since the epoch, at the answer's end.
    """

    method: str
    bucket: str
    key: str
    access_key: str | None
    principal: str | None
    bytes_in: int
    bytes_out: int
    status: int
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Denial:
    """A request that a policy did not allow.

    Args:
        service: For example `s3`.
        action: For example `s3:GetObject`.
        resource: Its ARN, or `*`.
        principal: The caller's ARN. None: the key is nobody's, or the signature was wrong.
        access_key: Whose signature the request bore. None: it was not signed.
        reason: AWS's code, `AccessDenied` when it was a policy.
        time: Seconds since the epoch.
    """

    service: str
    action: str
    resource: str
    principal: str | None
    access_key: str | None
    reason: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request for which the emulator cannot say what AWS would do, or at which it broke.

    Args:
        service: For example `s3`.
        message: What is missing.
        time: Seconds since the epoch.
    """

    service: str
    message: str
    time: float = field(default_factory=time.time)


Record = S3Request | Denial | Failure
_KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (S3Request, Denial, Failure)}


def refusals(records: Iterable[Record]) -> list[str]:
    """Say what was denied, and what the emulator could not answer."""
    return [
        f"{each.action} on {each.resource} ({each.reason})"
        if isinstance(each, Denial)
        else f"{each.service}: {each.message}"
        for each in records
        if not isinstance(each, S3Request)
    ]


class RequestLog:
    """Appends to a log file and reads it, also while another process appends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, record: Record) -> None:
        """Add a record. It is in the file when this returns."""
        line = json.dumps({"kind": type(record).__name__, **asdict(record)}) + "\n"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    @property
    def position(self) -> int:
        """The log's end now, in bytes: `since` it reads what comes later."""
        return self._path.stat().st_size if self._path.exists() else 0

    def since(self, position: int = 0) -> Iterator[Record]:
        """Read the records that were appended after a position."""
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8") as file:
            file.seek(position)
            for line in file:
                fields = json.loads(line)
                yield _KINDS[fields.pop("kind")](**fields)
