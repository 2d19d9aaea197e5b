"""An HTTPS server on this machine, with a certificate authority of its own that its clients are told to trust."""

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from local.server_certificate import write_server_certificate

_NAME = "localhost"


class HttpsServer:
    """Answers on `localhost` as long as the `with` block lasts.

    Args:
        handler: Answers the requests.
        directory: For its key and certificates.
    """

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler], directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        certificate_file = directory / "server.pem"
        self.authority_file = directory / "authority.pem"
        """The authority's certificate, for a client's `SSL_CERT_FILE`."""
        write_server_certificate(_NAME, certificate_file=certificate_file, authority_file=self.authority_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file)
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"https://{_NAME}:{self._server.server_port}"
        """Without a slash at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    # A client may hang up whenever it likes; a connection that it leaves open is no reason to wait.
    block_on_close = False

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Say nothing: a client that hangs up, or does not trust the certificate, knows it itself."""
