"""Puts the running of functions into moto's Lambda."""

import base64
import json
import traceback
from collections.abc import Mapping
from threading import Thread
from typing import Any

from moto.awslambda.models import LambdaBackend, LambdaFunction

from local.emulator.errors import NotEmulatedError
from local.emulator.functions.invocation import Invocations, Outcome
from local.emulator.replacing import replace
from local.emulator.request_log import Failure, RequestLog

_ATTEMPTS = 3


def install(invocations: Invocations, log: RequestLog) -> None:
    """Make this process's moto run functions.

    Args:
        invocations: Runs them.
        log: Where it is written that a function could not be run which nobody waited for.
    """

    def invoke(  # noqa: PLR0917 - moto's interface
        backend: LambdaBackend,
        function_name: str,
        qualifier: str | None,
        body: Any,  # noqa: ANN401 - moto's interface
        headers: Mapping[str, str],
        response_headers: dict[str, str],
    ) -> bytes:
        function = backend.get_function(function_name, qualifier)
        event = json.loads(body or "{}")
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "Event":
            Thread(target=_run_unattended, args=(invocations, log, function, event), daemon=True).start()
        if kind in ("Event", "DryRun"):
            return b""
        outcome = invocations.run(function, event)
        response_headers["x-amz-log-result"] = base64.b64encode(outcome.log).decode()
        if outcome.is_error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return outcome.payload

    replace(LambdaBackend, "invoke", invoke)


def _run_unattended(invocations: Invocations, log: RequestLog, function: LambdaFunction, event: object) -> None:
    for _ in range(_ATTEMPTS):
        try:
            outcome: Outcome = invocations.run(function, event)
        except (NotEmulatedError, LookupError) as error:
            log.append(Failure(service="lambda", message=str(error)))
            return
        except Exception as error:  # noqa: BLE001 - nobody waits for it, so the log has to have it
            traceback.print_exc()
            log.append(Failure(service="lambda", message=f"{function.function_name}: {type(error).__name__}: {error}"))
            return
        if not outcome.is_error:
            return
