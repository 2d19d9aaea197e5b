"""Where custom resources answer: each request of CloudFormation has a URL of its own, for one answer.

On AWS it is a pre-signed URL of S3's, signed without a content type: a request that has one is refused there too.
"""

import queue
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from local.emulator.errors import Answer
from local.emulator.request import Environ, body

PREFIX = "/_emulator/custom-resource-answers/"

_awaited: dict[str, queue.Queue[bytes]] = {}


class AwaitedAnswer:
    """An answer that has not come yet."""

    def __init__(self, path: str, answers: "queue.Queue[bytes]") -> None:
        self.path = path
        self._answers = answers

    def wait(self, seconds: float) -> bytes | None:
        """Return the answer, or None when it has not come in time."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            return None


@contextmanager
def awaited_answer() -> Iterator[AwaitedAnswer]:
    """Accept one answer at a new path, while the block lasts."""
    token = secrets.token_urlsafe()
    _awaited[token] = queue.Queue()
    try:
        yield AwaitedAnswer(PREFIX + token, _awaited[token])
    finally:
        _awaited.pop(token, None)


def receive(environ: Environ) -> Answer:
    """Take an answer, if it is awaited and comes as a pre-signed URL allows."""
    content = body(environ)
    token = environ["PATH_INFO"].removeprefix(PREFIX)
    if environ["REQUEST_METHOD"] != "PUT" or environ.get("CONTENT_TYPE") or token not in _awaited:
        return _plain(HTTPStatus.FORBIDDEN)
    _awaited[token].put(content)
    return _plain(HTTPStatus.OK)


def _plain(status: HTTPStatus) -> Answer:
    return Answer(f"{status.value} {status.phrase}", [("Content-Length", "0")], [])
