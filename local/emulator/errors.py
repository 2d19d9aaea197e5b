"""Answers of the emulated account, and how each of AWS's protocols refuses a request."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from xml.sax.saxutils import escape

from local.emulator.request import AwsRequest, Environ
from local.emulator.rest_actions import REST_JSON_SERVICES


class NotEmulatedError(Exception):
    """The emulator cannot tell what AWS would do; the message says what is missing. Never taken for an answer."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status_line: str
    headers: list[tuple[str, str]]
    chunks: list[bytes]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.status_line[:3])


class Refusal(Exception):  # noqa: N818 - AWS's word
    """AWS does not carry out a request.

    Args:
        code: AWS's error code.
        message: What the caller reads.
        status: The HTTP status, where the protocol has a choice.
    """

    def __init__(self, code: str, message: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def answer(self, request: AwsRequest, environ: Environ) -> Answer:
        """Say it in the protocol of the service that was asked."""
        code, message, status = escape(self.code), escape(self.message), self.status
        kind, more = "text/xml", {}
        if request.service == "s3":
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        elif request.service == "ec2":
            code = "UnauthorizedOperation" if code == "AccessDenied" else code
            text = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
            )
        elif request.service in REST_JSON_SERVICES:
            text, kind = json.dumps({"Message": self.message}), "application/json"
            more = {"x-amzn-ErrorType": "AccessDeniedException" if code == "AccessDenied" else self.code}
        elif "json" in environ.get("CONTENT_TYPE", ""):
            text, kind = json.dumps({"__type": self.code, "message": self.message}), environ["CONTENT_TYPE"]
            status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.FORBIDDEN else status
        else:
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            text = f"<ErrorResponse>{error}</ErrorResponse>"
        data = b"" if request.method == "HEAD" else text.encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(data))), *more.items()]
        return Answer(f"{status.value} {status.phrase}", headers, [data])
