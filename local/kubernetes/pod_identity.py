"""The EKS Pod Identity agent of a node: gives a pod that shows its token the credentials of its role.

https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
"""

import json
import secrets
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

ADDRESS = "169.254.170.23"
URL = f"http://{ADDRESS}/v1/credentials"
TOKEN_DIRECTORY = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"  # noqa: S105 - where it is
TOKEN_FILE = "eks-pod-identity-token"  # noqa: S105 - its name


class PodIdentityAgent:
    """Answers at its own address, which is on the node's loopback, until it is closed.

    Args:
        associated: The service accounts that have a role, each with its namespace before it.
        credentials: Asked for the credentials of one of them: `AccessKeyId`, `SecretAccessKey`, `Token`, `Expiration`.
        region: The region that pods are told.
    """

    def __init__(
        self,
        associated: Collection[tuple[str, str]],
        credentials: Callable[[str, str], Mapping[str, str]],
        region: str,
    ) -> None:
        self._associated = associated
        self._region = region
        subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
        self._server = _Server((ADDRESS, 80), _Handler)
        self._server.credentials = credentials
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def new_token(self, namespace: str, service_account: str) -> str | None:
        """Return a token for a new pod; None where its service account has no role."""
        if (namespace, service_account) not in self._associated:
            return None
        token = secrets.token_urlsafe(96)
        self._server.holders[token] = (namespace, service_account)
        return token

    def forget(self, token: str) -> None:
        """Give nothing to who shows a token any more."""
        self._server.holders.pop(token, None)

    def variables(self) -> dict[str, str]:
        """Return what every container of such a pod finds in its environment."""
        return {
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_STS_REGIONAL_ENDPOINTS": "regional",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": URL,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{TOKEN_DIRECTORY}/{TOKEN_FILE}",
        }

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        subprocess.run(["ip", "address", "delete", f"{ADDRESS}/32", "dev", "lo"], check=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    credentials: Callable[[str, str], Mapping[str, str]]

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - passed on as they are
        self.holders: dict[str, tuple[str, str]] = {}
        super().__init__(*arguments)

    def server_bind(self) -> None:
        # Not as HTTPServer does, which asks the DNS for the name that belongs to the address.
        TCPServer.server_bind(self)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        holder = self.server.holders.get(self.headers.get("Authorization", ""))
        if self.path != "/v1/credentials":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif holder is None:
            self.send_error(HTTPStatus.UNAUTHORIZED)
        else:
            given = self.server.credentials(*holder)
            body = json.dumps(
                {name: given[name] for name in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")}
            ).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - credentials stay out of every log
        return
