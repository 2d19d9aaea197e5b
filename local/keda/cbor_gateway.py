"""CloudWatch in the protocol that newer AWS SDKs speak to it, for an emulated account that does not know it.

Smithy RPC v2 CBOR: https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

import io
import struct
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from botocore import xform_name
from botocore.parsers import RpcV2CBORParser

from local.emulator.aws import Aws


class CborGateway:
    """Passes calls on to an emulated account, as its operator, as long as the `with` block lasts.

    Args:
        endpoint_url: Where the emulated account is.
    """

    def __init__(self, endpoint_url: str) -> None:
        cloudwatch = Aws(endpoint_url).client("cloudwatch")

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                operation = self.path.rpartition("/")[2]
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parameters = RpcV2CBORParser().parse_data_item(io.BytesIO(body))
                answer = getattr(cloudwatch, xform_name(operation))(**parameters)
                del answer["ResponseMetadata"]
                encoded = _encode(answer)
                self.send_response(200)
                self.send_header("smithy-protocol", "rpc-v2-cbor")
                self.send_header("Content-Type", "application/cbor")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        """Without a slash at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _encode(value: Any) -> bytes:  # noqa: ANN401 - whatever an answer holds
    match value:
        case datetime():
            return _head(6, 1) + _encode(value.timestamp())
        case str():
            text = value.encode()
            return _head(3, len(text)) + text
        case int():
            return _head(0, value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case list():
            return _head(4, len(value)) + b"".join(map(_encode, value))
        case dict():
            pairs = [_encode(key) + _encode(each) for key, each in value.items()]
            return _head(5, len(value)) + b"".join(pairs)
    raise TypeError(f"no CBOR is known for {value!r}")


def _head(kind: int, number: int) -> bytes:
    if number < 24:  # noqa: PLR2004 - what fits into the first byte
        return bytes([kind << 5 | number])
    return bytes([kind << 5 | 27]) + struct.pack(">Q", number)
