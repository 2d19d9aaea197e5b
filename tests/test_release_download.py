"""How an archive is fetched from servers that stumble, break off, are slow or lead astray: real HTTPS, all of it."""

import hashlib
import io
import random
import re
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cdk_buildkit.handlers.release import download as module
from cdk_buildkit.handlers.release.download import ATTEMPTS, download
from cdk_buildkit.handlers.release.https_opener import DownloadError
from local.https_server import HttpsServer

CONTENT = random.Random("archive").randbytes(3_000_000)  # noqa: S311 - the same at every run
OTHER_CONTENT = random.Random("other").randbytes(1_000_000)  # noqa: S311 - likewise
Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Upstream:
    """An HTTPS server that behaves as it is told, and remembers what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.asked: list[tuple[str, str | None]] = []
        """Each request's path and range."""
        self._behaviours: dict[str, list[Behaviour]] = {}
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HttpsServer(Handler, directory)
        self.url = self.server.url

    def serve(self, path: str, *behaviours: Behaviour) -> str:
        """Behave so at the first, second ... request for a path, and as at last at every further one."""
        self._behaviours[path] = list(behaviours)
        return self.url + path

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append((request.path, request.headers["Range"]))
        behaviours = self._behaviours[request.path.partition("?")[0]]
        (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(request)

    @property
    def ranges(self) -> list[str | None]:
        return [each for _, each in self.asked]


def sending(content: bytes, *, entity_tag: str | None = '"1"', end: int | None = None, pause: float = 0) -> Behaviour:
    """Send a file as a server that knows ranges does, up to a position in it, with pauses."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers["Range"] or "")
        if asked and entity_tag and request.headers["If-Range"] in {entity_tag, None}:
            start = int(asked[1])
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content) - start))
        if entity_tag:
            request.send_header("ETag", entity_tag)
        request.end_headers()
        for position in range(start, len(content) if end is None else end, 100_000):
            request.wfile.write(content[position : position + 100_000])
            time.sleep(pause)

    return behave


def chunked(content: bytes, *, finished: bool = True) -> Behaviour:
    """Send a file in chunks, without saying how long it is."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n" + (b"0\r\n\r\n" if finished else b""))

    return behave


def without_a_length(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(CONTENT)


def answering(code: int, **headers: str) -> Behaviour:
    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code, "words of the server")
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return behave


def silent(seconds: float) -> Behaviour:
    return lambda _: time.sleep(seconds)


def hanging_up(_: BaseHTTPRequestHandler) -> None:
    pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    with upstream.server:
        yield upstream


@pytest.fixture
def upstream(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The server, trusted as a public one is: its authority is among those of the machine."""
    server.asked.clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.server.authority_file))
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    return server


def fetch(url: str, seconds: float = 60) -> bytes:
    """Download, and return what is in the file."""
    file = io.BytesIO()
    digest = download(url, file, deadline=time.monotonic() + seconds)
    assert digest == hashlib.sha256(file.getvalue()).hexdigest()
    return file.getvalue()


def refusal(url: str, seconds: float = 60) -> str:
    """Fail to download, and return the words that say why."""
    with pytest.raises(DownloadError) as error:
        download(url, io.BytesIO(), deadline=time.monotonic() + seconds)
    return str(error.value)


def test_a_file_is_fetched_in_one_request(upstream: Upstream) -> None:
    url = upstream.serve("/archive", sending(CONTENT))

    assert fetch(url) == CONTENT
    assert upstream.asked == [("/archive", None)]


# Servers that stumble or break off


@pytest.mark.parametrize(
    ("first", "second", "ranges"),
    [
        (sending(CONTENT, end=1_000_000), sending(CONTENT), [None, "bytes=1000000-"]),
        (sending(CONTENT, end=0), sending(CONTENT), [None, None]),
        (sending(CONTENT, end=1_000_000, entity_tag=None), sending(CONTENT, entity_tag=None), [None, None]),
        (sending(CONTENT, end=1_000_000, entity_tag='W/"1"'), sending(CONTENT), [None, None]),
        (sending(OTHER_CONTENT, end=900_000), sending(CONTENT, entity_tag='"2"'), [None, "bytes=900000-"]),
        (sending(CONTENT, end=1_000_000), without_a_length, [None, "bytes=1000000-"]),
        (sending(CONTENT, end=1_000_000), answering(416), [None, "bytes=1000000-", None]),
        (sending(CONTENT, end=1_000_000), answering(206, Content_Range="bytes 7-9/10"), [None, "bytes=1000000-", None]),
        (chunked(CONTENT[:1_000_000], finished=False), chunked(CONTENT), [None, None]),
        (answering(503), sending(CONTENT), [None, None]),
        (answering(429), sending(CONTENT), [None, None]),
        (hanging_up, sending(CONTENT), [None, None]),
    ],
    ids=[
        "goes on where it was cut off",
        "nothing had come",
        "no entity tag",
        "a weak entity tag",
        "another file by now",
        "no ranges",
        "a range that the server does not have",
        "another range than asked for",
        "no length",
        "unavailable",
        "too many requests",
        "hangs up at once",
    ],
)
def test_a_download_that_breaks_off_is_tried_again(
    upstream: Upstream, first: Behaviour, second: Behaviour, ranges: list[str | None]
) -> None:
    url = upstream.serve("/archive", first, second, sending(CONTENT))

    assert fetch(url) == CONTENT
    assert upstream.ranges == ranges


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (sending(CONTENT, end=1_000_000, entity_tag=None), "1000000 of 3000000 bytes, then the end of the connection"),
        (chunked(CONTENT[:1_000_000], finished=False), "1000000 of ? bytes, then IncompleteRead"),
        (answering(500), "HTTP 500 Internal Server Error"),
        (answering(599), "HTTP 599"),
        (hanging_up, "0 of ? bytes, then RemoteDisconnected"),
    ],
    ids=["cut off", "cut off without a length", "an error", "an unknown error", "hangs up at once"],
)
def test_a_server_that_never_sends_it_whole_is_given_up(upstream: Upstream, behaviour: Behaviour, words: str) -> None:
    url = upstream.serve("/archive", behaviour)

    assert refusal(url) == (
        f"{url}: got {words}, at the last of {ATTEMPTS} attempts, allowed the whole file: deploy again when the server "
        "answers, or take a mirror by the release's url"
    )
    assert len(upstream.asked) == ATTEMPTS


def test_a_server_that_is_not_there_is_given_up(upstream: Upstream) -> None:
    assert upstream.url

    assert "got 0 of ? bytes, then ConnectionRefusedError (Connection refused), at the last of" in refusal(
        "https://localhost:1/archive"
    )


def test_attempts_are_further_and_further_apart(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module, "PAUSE_SECONDS", 2)
    monkeypatch.setattr("cdk_buildkit.handlers.release.download.time.sleep", waits.append)

    refusal(upstream.serve("/archive", answering(503)))

    assert waits == [2, 4, 8, 16, 32]


# Slow servers


def test_a_server_that_falls_silent_is_asked_again(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.3)
    url = upstream.serve("/archive", silent(1), sending(CONTENT, end=1_000_000), silent(1), sending(CONTENT))

    assert fetch(url) == CONTENT
    assert upstream.ranges == [None, None, "bytes=1000000-", "bytes=1000000-"]


def test_a_server_that_is_silent_for_ever_is_given_up(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.1)
    url = upstream.serve("/archive", silent(0.5))

    assert f"{url}: got 0 of ? bytes, then silence, at the last of {ATTEMPTS} attempts" in refusal(url)


@pytest.mark.parametrize(
    ("behaviour", "progress"),
    [(sending(CONTENT, pause=0.2), r"[1-9]\d* of 3000000 bytes"), (silent(6), r"0 of \? bytes")],
    ids=["trickles", "silent"],
)
def test_a_server_that_is_too_slow_is_given_up_in_time(upstream: Upstream, behaviour: Behaviour, progress: str) -> None:
    url = upstream.serve("/archive", behaviour)
    started = time.monotonic()

    words = refusal(url, seconds=2)

    assert time.monotonic() - started < 5
    assert re.fullmatch(
        rf"{url}: got {progress} in \d+ s, allowed the whole file before the function's time ends: deploy again when "
        "the server is faster, or take a mirror by the release's url",
        words,
    )


# Servers that have no such file, or lead astray


@pytest.mark.parametrize(("code", "phrase"), [(404, "Not Found"), (403, "Forbidden"), (410, "Gone")])
def test_a_status_that_will_not_change_is_not_tried_again(upstream: Upstream, code: int, phrase: str) -> None:
    url = upstream.serve("/archive", answering(code))

    assert refusal(f"{url}?token=SECRET") == (
        f"{url}: got HTTP {code} {phrase}, allowed HTTP 200: correct the release's version or url: there has to be an "
        "archive by it"
    )
    assert len(upstream.asked) == 1


def test_redirects_are_followed_at_every_attempt(upstream: Upstream) -> None:
    url = upstream.serve("/archive", answering(302, Location=f"{upstream.url}/signed?signature=SECRET"))
    upstream.serve("/signed", answering(307, Location="/there"))
    upstream.serve("/there", sending(CONTENT, end=1_000_000), sending(CONTENT))

    assert fetch(url) == CONTENT
    assert [path for path, _ in upstream.asked] == ["/archive", "/signed?signature=SECRET", "/there"] * 2
    assert upstream.asked[-1] == ("/there", "bytes=1000000-")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.1:1/there?SECRET", "got a redirect to http://127.0.0.1:1/there, allowed https alone"),
        ("ftp://user:SECRET@example.com/there", "got a redirect to ftp://example.com/there, allowed https alone"),
        ("file:///etc/SECRET", "got HTTP 302 Found without a way to the file, allowed redirects to https"),
        ("/archive?SECRET", "got HTTP 302 Found without a way to the file, allowed redirects to https"),
    ],
    ids=["http", "ftp", "file", "a circle"],
)
def test_a_redirect_out_of_https_or_in_a_circle_is_refused(
    upstream: Upstream, capfd: pytest.CaptureFixture[str], location: str, words: str
) -> None:
    url = upstream.serve("/archive", answering(302, Location=location))

    said = refusal(url)

    assert said.startswith(f"{url}: {words}: ")
    assert "SECRET" not in said + "".join(capfd.readouterr())


def test_a_url_without_https_is_refused(upstream: Upstream) -> None:
    url = upstream.serve("/archive", sending(CONTENT)).replace("https", "http")

    assert refusal(url) == f"{url}: got another protocol, allowed https alone: correct the release's url"
    assert upstream.asked == []


def test_a_certificate_for_another_name_is_refused(upstream: Upstream) -> None:
    url = upstream.serve("/archive", sending(CONTENT)).replace("localhost", "127.0.0.1")

    assert f"{url}: got a certificate that does not verify (IP address mismatch" in refusal(url)
    assert upstream.asked == []


def test_a_certificate_of_an_authority_that_nobody_trusts_is_refused(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    url = upstream.serve("/archive", sending(CONTENT))

    assert f"{url}: got a certificate that does not verify (unable to get local issuer certificate)" in refusal(url)
    assert upstream.asked == []


@pytest.mark.parametrize("behaviour", [sending(CONTENT), chunked(CONTENT)], ids=["announced", "not announced"])
def test_a_file_that_does_not_fit_is_refused(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2_000_000)
    url = upstream.serve("/archive", behaviour)

    assert re.search(r"got \d{7} bytes or more, allowed at most 2000000: correct the release's url", refusal(url))
    assert len(upstream.asked) == 1
