"""Answer the load balancer's health check over HTTP."""

from __future__ import annotations

import ipaddress
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Callable, Mapping  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

if TYPE_CHECKING:
    from .agent_rules import Health

HEALTH_PORT = 1236
HEALTH_PATH = "/health"


class HealthServer(ThreadingHTTPServer):
    """Answers others 200 while the builder takes new builds, else 503; the body says why.

    Args:
        health: Asked at each request.
        port: The port to listen on, at every address.
        others: What else is asked, by its path. Default: nothing.
    """

    daemon_threads = True

    def __init__(
        self,
        health: Callable[[], Health],
        port: int = HEALTH_PORT,
        others: Mapping[str, Callable[[], Health]] | None = None,
    ) -> None:
        self.questions = {HEALTH_PATH: health, **(others or {})}
        super().__init__(("", port), _Handler)

    def start(self) -> None:
        """Answer from now on, in a thread."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: HealthServer
    timeout = 5

    def do_GET(self) -> None:
        client, own = self.client_address[0], self.connection.getsockname()[0]
        if client == own or ipaddress.ip_address(client).is_loopback:
            # `ADD http://127.0.0.1...` is fetched by the daemon, from the host itself.
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        question = self.server.questions.get(self.path)
        if question is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        health = question()
        body = f"{health.words}\n".encode()
        self.send_response(HTTPStatus.OK if health.takes_builds else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - a line for each check of each node says nothing
        return
