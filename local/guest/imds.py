"""An instance metadata service, version 2 only, at its real address inside a builder's network namespace."""

import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

ADDRESS = "169.254.169.254"
HOP_LIMIT = 1
"""As the launch template sets it: an answer dies on its way through one more hop."""


def metadata(*, instance_id: str, region: str, role_name: str, credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the paths that an instance's metadata has, with their values."""
    identity = {"instanceId": instance_id, "region": region, "availabilityZone": f"{region}a"}
    return {
        "meta-data/instance-id": instance_id,
        "meta-data/autoscaling/target-lifecycle-state": "InService",
        "meta-data/placement/region": region,
        "meta-data/iam/security-credentials/": role_name,
        f"meta-data/iam/security-credentials/{role_name}": json.dumps(dict(credentials)),
        "dynamic/instance-identity/document": json.dumps(identity),
    }


def serve(values: Callable[[], Mapping[str, str | None]]) -> ThreadingHTTPServer:
    """Answer at the metadata address, which must be on an interface, until the process ends.

    Args:
        values: Asked at each request for all paths with their values, None for one that is not there.
    """
    server = _Server((ADDRESS, 80), _Handler)
    server.values = values
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    values: Callable[[], Mapping[str, str | None]]

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        self.tokens: set[str] = set()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, HOP_LIMIT)
        # Not as HTTPServer does, which asks the DNS for the name that belongs to the address.
        TCPServer.server_bind(self)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token" or "X-aws-ec2-metadata-token-ttl-seconds" not in self.headers:
            self._answer(HTTPStatus.BAD_REQUEST, "")
            return
        token = secrets.token_urlsafe()
        self.server.tokens.add(token)
        ttl = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(HTTPStatus.OK, token, {"X-aws-ec2-metadata-token-ttl-seconds": ttl})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._answer(HTTPStatus.UNAUTHORIZED, "")
            return
        value = self.server.values().get(self.path.removeprefix("/latest/"))
        if value is None:
            self._answer(HTTPStatus.NOT_FOUND, "")
        else:
            self._answer(HTTPStatus.OK, value)

    def _answer(self, status: HTTPStatus, body: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body.encode())), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - credentials stay out of every log
        return
