"""Opens URLs by HTTPS, and refuses every other way, a redirect's too."""

import ssl
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
)


class DownloadError(Exception):
    """A file cannot be had.

    Args:
        url: Where it should be.
        got: What came instead.
        allowed: What may come.
        mend: What to do.
    """

    def __init__(self, url: str, got: str, allowed: str, mend: str) -> None:
        super().__init__(f"{shown(url)}: got {got}, allowed {allowed}: {mend}")


def shown(url: str) -> str:
    """Return what of a URL may be shown: a user's name, a query and a fragment can hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def https_opener() -> OpenerDirector:
    """Return what opens https URLs and knows no other protocol: no http, no file, no proxy."""
    opener = OpenerDirector()
    handlers: list[Any] = [
        HTTPSHandler(context=ssl.create_default_context()),
        _HttpsRedirects(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


class _HttpsRedirects(HTTPRedirectHandler):
    """Follows redirects that stay in https."""

    def redirect_request(  # noqa: PLR0917 - as it is called
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DownloadError(
                req.full_url,
                f"a redirect to {shown(newurl)}",
                "https alone",
                "take an https mirror by the release's url",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
