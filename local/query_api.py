"""AWS's query protocol, as far as a stand-in for a service speaks it: forms come in, XML goes out."""

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

_POLL_SECONDS = 0.05


class RefusedCallError(Exception):
    """A call is refused: AWS's code for the error, and its words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class QueryApi:
    """A server that answers calls at `endpoint` until it is closed.

    Args:
        host: The address to listen on.
        answer: Given a call's parameters, returns its result: what `to_xml` writes. May raise a `RefusedCallError`.
    """

    def __init__(self, host: str, answer: Callable[[Mapping[str, str]], Mapping[str, Any]]) -> None:
        self._server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"perform": staticmethod(answer)}))
        self.endpoint = f"http://{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def to_xml(value: Any) -> str:  # noqa: ANN401 - any value that a result may hold
    """Write a result: mappings as elements, sequences as members, numbers and truths as AWS does."""
    match value:
        case Mapping():
            return "".join(f"<{name}>{to_xml(each)}</{name}>" for name, each in value.items())
        case list() | tuple():
            return "".join(f"<member>{to_xml(each)}</member>" for each in value)
        case bool():
            return str(value).lower()
    return escape(str(value))


class _Handler(BaseHTTPRequestHandler):
    perform: Callable[[Mapping[str, str]], Mapping[str, Any]]

    def do_POST(self) -> None:
        parameters = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        action = parameters["Action"]
        try:
            result = to_xml(type(self).perform(parameters))
        except RefusedCallError as error:
            words = to_xml({"Error": {"Type": "Sender", "Code": error.code, "Message": str(error)}})
            self._send(HTTPStatus.BAD_REQUEST, f"<ErrorResponse>{words}</ErrorResponse>")
        else:
            metadata = to_xml({"ResponseMetadata": {"RequestId": 1}})
            self._send(
                HTTPStatus.OK,
                f"<{action}Response><{action}Result>{result}</{action}Result>{metadata}</{action}Response>",
            )

    def _send(self, status: HTTPStatus, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the calls are recorded
        return
