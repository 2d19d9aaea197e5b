"""Asks the function of a custom resource as CloudFormation does, and takes its answer."""

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self

Handler = Callable[[Mapping[str, Any], object], object]


class CustomResource:
    """A custom resource of a stack; used with `with`.

    Args:
        handler: The function's handler.
        properties: The resource's properties.
    """

    def __init__(self, handler: Handler, properties: Mapping[str, Any]) -> None:
        self._handler = handler
        self._properties = properties
        self._answers: list[dict[str, Any]] = []
        answers = self._answers

        class Endpoint(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(HTTPStatus.OK)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Endpoint)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def ask(self, request_type: str, physical_id: str | None = None) -> dict[str, Any]:
        """Send `Create`, `Update` or `Delete`, the latter two with a physical id, and return the answer."""
        self._handler(
            {
                "RequestType": request_type,
                "ResponseURL": f"http://127.0.0.1:{self._server.server_port}/",
                "StackId": "stack",
                "RequestId": "request",
                "LogicalResourceId": "Proof",
                "ResourceProperties": self._properties,
                **({"PhysicalResourceId": physical_id} if physical_id is not None else {}),
            },
            None,
        )
        return self._answers.pop()
