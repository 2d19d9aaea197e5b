"""The emulated account as a WSGI application: control, authorization and log around moto's services."""

import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from werkzeug.wsgi import get_input_stream

from local.emulator import control, web_identity
from local.emulator.authorization import Denied, authorize, bucket_exists, may_list
from local.emulator.cloudformation import answers
from local.emulator.errors import Answer, NotEmulatedError, Refusal
from local.emulator.principals import is_of_function, principal_of
from local.emulator.request import AwsRequest, Environ
from local.emulator.request_log import Denial, Failure, RequestLog, S3Request

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

_DRAINED_AT_ONCE = 1 << 20


class Application:
    """Answers requests to the emulated account.

    Args:
        services: moto's application.
        log: Where requests to S3, denials and failures are written.
        enforce_iam: Whether policies count from the start. `control` changes it. For functions they always do.
    """

    def __init__(self, services: WsgiApplication, log: RequestLog, *, enforce_iam: bool) -> None:
        self._services = services
        self._log = log
        self.enforce_iam = enforce_iam

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. What S3 does is in the log before the caller has its answer."""
        environ["wsgi.input"] = get_input_stream(environ)  # ends where the body does
        if environ["PATH_INFO"].startswith(answers.PREFIX):
            answer = answers.receive(environ)
        elif environ["PATH_INFO"].startswith(control.PREFIX):
            answer = control.respond(self, environ)
        else:
            request = AwsRequest.read(environ)
            answer = self._answer(request, environ)
            if request.service == "s3":
                self._log.append(_s3_request(request, environ, answer))
        start_response(answer.status_line, answer.headers)
        return answer.chunks

    def _answer(self, request: AwsRequest, environ: Environ) -> Answer:
        try:
            return self._carry_out(request, environ)
        except Refusal as refusal:
            self._log.append(_denial(request, refusal))
            answer = refusal.answer(request, environ)
        except (NotEmulatedError, NotImplementedError) as error:  # the latter is moto's own word
            self._log.append(Failure(service=request.service, message=str(error)))
            answer = Refusal("NotImplemented", str(error), HTTPStatus.NOT_IMPLEMENTED).answer(request, environ)
        except Exception as error:  # noqa: BLE001 - the caller gets an answer, the log the reason
            traceback.print_exc()
            message = f"{request.service}:{request.action} broke in the emulator: {type(error).__name__}: {error}"
            self._log.append(Failure(service=request.service, message=message))
            answer = Refusal("InternalError", message, HTTPStatus.INTERNAL_SERVER_ERROR).answer(request, environ)
        while environ["wsgi.input"].read(_DRAINED_AT_ONCE):
            pass  # what a refused request leaves unread would be taken for the connection's next one
        return answer

    def _carry_out(self, request: AwsRequest, environ: Environ) -> Answer:
        if not self.enforce_iam and not is_of_function(request.access_key):
            return self._ask_services(environ)
        if request.action == web_identity.ACTION:  # nobody has signed it: what it bears is the caller's proof
            web_identity.check_token(request.parameters)
            return self._ask_services(environ)
        principal = authorize(request, environ)
        answer = self._ask_services(environ)
        missing = answer.status == HTTPStatus.NOT_FOUND and request.key and bucket_exists(request.bucket)
        if missing and not may_list(principal, request, environ):
            raise Denied(principal.arn, "s3:ListBucket", f"arn:aws:s3:::{request.bucket}")
        return answer

    def _ask_services(self, environ: Environ) -> Answer:
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status_line: str, headers: list[tuple[str, str]], _: object = None) -> None:
            begun.append((status_line, headers))

        content = self._services(environ, start_response)
        try:
            chunks = list(content)
        finally:
            getattr(content, "close", lambda: None)()
        return Answer(*begun[-1], chunks)


def _denial(request: AwsRequest, refusal: Refusal) -> Denial:
    denied = refusal if isinstance(refusal, Denied) else None
    return Denial(
        service=request.service,
        action=denied.action if denied else request.action,
        resource=denied.resource if denied else "*",
        principal=denied.principal if denied else None,
        access_key=request.access_key,
        reason=refusal.code,
    )


def _s3_request(request: AwsRequest, environ: Environ, answer: Answer) -> S3Request:
    try:
        owner = principal_of(request.access_key, request.session_token).arn
    except Refusal:
        owner = None
    return S3Request(
        method=request.method,
        bucket=request.bucket,
        key=request.key,
        access_key=request.access_key,
        principal=owner,
        bytes_in=int(environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or environ.get("CONTENT_LENGTH") or 0),
        bytes_out=sum(map(len, answer.chunks)),
        status=answer.status,
    )
