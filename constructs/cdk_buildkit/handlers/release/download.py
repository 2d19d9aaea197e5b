"""Fetches a file by HTTPS in the time that there is, and goes on where a connection broke."""

import hashlib
import re
import ssl
import time
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, responses
from itertools import count
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

from cdk_buildkit.handlers.release.https_opener import DownloadError, https_opener, shown

ATTEMPTS = 6
PAUSE_SECONDS = 2
"""Before the second attempt; twice as long before each further one."""

SILENCE_SECONDS = 30
"""How long a server may send nothing, before it is asked again."""

MOST_BYTES = 400 << 20
"""What fits into Lambda's own /tmp of 512 MiB, and leaves some of it to others."""

_CHUNK_BYTES = 1 << 20
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class _InterruptedError(Exception):
    """An attempt failed, and the next one may not."""


def download(url: str, file: BinaryIO, *, deadline: float) -> str:
    """Write what is at a URL to a file, and return its SHA-256 in hexadecimal digits.

    Args:
        url: An https URL. Redirects are followed as far as they are https too.
        file: Empty; open for reading and writing.
        deadline: When to give up, on the monotonic clock.

    Raises:
        DownloadError: The server has no such file, does not send it whole, or leads away from https.
    """
    if urlsplit(url).scheme != "https":
        raise DownloadError(url, "another protocol", "https alone", "correct the release's url")
    transfer = _Transfer(url, file, deadline)
    for attempt in count(1):
        try:
            return transfer.go_on()
        except _InterruptedError as interruption:
            if attempt == ATTEMPTS:
                raise DownloadError(
                    url,
                    f"{interruption}, at the last of {ATTEMPTS} attempts",
                    "the whole file",
                    "deploy again when the server answers, or take a mirror by the release's url",
                ) from None
            pause = PAUSE_SECONDS * 2 ** (attempt - 1)
            print(f"{shown(url)}: {interruption}; again in {pause} s")  # noqa: T201 - the function's log
            time.sleep(min(pause, transfer.seconds_left()))
    raise AssertionError  # the attempts end the loop


class _Transfer:
    """One file on its way, over as many connections as it takes."""

    def __init__(self, url: str, file: BinaryIO, deadline: float) -> None:
        self._url = url
        self._file = file
        self._started = time.monotonic()
        self._deadline = deadline
        self._opener = https_opener()
        self._begin("")

    def go_on(self) -> str:
        """Fetch what is missing.

        Raises:
            _InterruptedError: It did not all come, and may the next time.
            DownloadError: It will not come the next time either.
        """
        with self._open() as response:
            while chunk := self._read(response):
                self._file.write(chunk)
                self._digest.update(chunk)
                self._received += len(chunk)
                self._check_size(self._received)
                self.seconds_left()
        if self._total is not None and self._received < self._total:
            raise _InterruptedError(f"{self._progress()}, then the end of the connection")
        return self._digest.hexdigest()

    def seconds_left(self) -> float:
        """Return the time until the deadline.

        Raises:
            DownloadError: There is none left.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DownloadError(
                self._url,
                f"{self._progress()} in {time.monotonic() - self._started:.0f} s",
                "the whole file before the function's time ends",
                "deploy again when the server is faster, or take a mirror by the release's url",
            )
        return left

    def _begin(self, entity_tag: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self._received = 0
        self._total: int | None = None
        self._entity_tag = entity_tag

    def _open(self) -> HTTPResponse:
        headers = {"User-Agent": "cdk-buildkit"}
        if self._received and self._entity_tag:
            # A server that has another file by now sends it whole.
            headers |= {"Range": f"bytes={self._received}-", "If-Range": self._entity_tag}
        request = Request(self._url, headers=headers)  # noqa: S310 - the opener knows https alone
        try:
            response: HTTPResponse = self._opener.open(request, timeout=min(SILENCE_SECONDS, self.seconds_left()))
        except HTTPError as error:
            error.close()
            raise self._refusal(error.code) from None
        except (OSError, HTTPException) as error:
            if isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    self._url,
                    f"a certificate that does not verify ({error.reason.verify_message})",
                    "one of a public certificate authority",
                    "take a server that has one by the release's url",
                ) from None
            raise self._interruption(error) from None
        self._accept(response)
        return response

    def _accept(self, response: HTTPResponse) -> None:
        """Find out which part of the file comes, and how much of it."""
        headers = response.headers
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            if not headers.get("Content-Range", "").startswith(f"bytes {self._received}-"):
                self._begin("")
                raise _InterruptedError("another part of the file than the one that was asked for")
        else:
            # Only a strong tag says that two parts are of the same file.
            entity_tag = headers.get("ETag", "")
            self._begin(entity_tag if entity_tag.startswith('"') else "")
            length = headers.get("Content-Length", "")
            self._total = int(length) if re.fullmatch(r"[0-9]+", length) else None
        self._check_size(self._total or 0)

    def _read(self, response: HTTPResponse) -> bytes:
        try:
            # What is there, without waiting for more: a server may be slow, and the deadline still holds.
            return response.read1(_CHUNK_BYTES)
        except (OSError, HTTPException) as error:
            raise self._interruption(error) from None

    def _check_size(self, size: int) -> None:
        if size > MOST_BYTES:
            raise DownloadError(
                self._url,
                f"{size} bytes or more",
                f"at most {MOST_BYTES}",
                "correct the release's url: a larger file is no archive of BuildKit",
            )

    def _refusal(self, code: int) -> Exception:
        status = f"HTTP {code} {responses.get(code, '')}".rstrip()
        if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._begin("")
            return _InterruptedError(status)
        if code in _TRANSIENT or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _InterruptedError(status)
        if code < HTTPStatus.BAD_REQUEST:
            return DownloadError(
                self._url, f"{status} without a way to the file", "redirects to https", "correct the release's url"
            )
        return DownloadError(
            self._url, status, "HTTP 200", "correct the release's version or url: there has to be an archive by it"
        )

    def _interruption(self, error: Exception) -> _InterruptedError:
        """Say what went wrong with a connection, in words of our own: a server's may hold anything."""
        reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        words = type(reason).__name__
        if isinstance(reason, TimeoutError):
            words = "silence"
        elif isinstance(reason, OSError) and reason.strerror:
            words += f" ({reason.strerror})"
        return _InterruptedError(f"{self._progress()}, then {words}")

    def _progress(self) -> str:
        return f"{self._received} of {'?' if self._total is None else self._total} bytes"
