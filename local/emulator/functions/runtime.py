"""Runs one invocation as Lambda's Python runtime does: `python -I -S -B runtime.py`, in a process of its own.

It is given where to look for code, the event and the context as JSON on standard input, and the handler in its
environment. It knows nothing of the emulator, and imports nothing of it: a function must find its own code alone.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1


class Context:
    """What a handler is told of its invocation.

    Args:
        attributes: Lambda's own, by their names.
        seconds: How long the invocation may take.
    """

    def __init__(self, attributes: dict[str, str], seconds: float) -> None:
        self.__dict__.update(attributes)
        self._deadline = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return how much of the function's timeout is left."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def main() -> None:
    """Load the handler, say that it is loaded, call it, and leave its answer in a file."""
    _die_with_parent()
    given = json.load(sys.stdin)
    sys.path[:0] = given["path"]
    try:
        handler = _load(os.environ["_HANDLER"])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the function's answer
        _answer(given, _described(error, given, kind="Runtime.ImportModuleError"), is_error=True)
        return
    os.write(given["loaded"], b"\n")
    context = Context(given["context"], given["seconds"])
    try:
        result = handler(given["event"], context)
    except Exception as error:  # noqa: BLE001 - likewise
        _answer(given, _described(error, given), is_error=True)
        return
    try:
        json.dumps(result)
    except (TypeError, ValueError) as error:
        _answer(given, _described(error, given, kind="Runtime.MarshalError"), is_error=True)
        return
    _answer(given, result, is_error=False)


def _load(name: str) -> Callable[[Any, Context], Any]:
    module_name, _, function = name.rpartition(".")
    module = importlib.import_module(module_name.replace("/", "."))
    if not hasattr(module, function):
        raise AttributeError(f"Handler '{function}' missing on module '{module_name}'")
    handler: Callable[[Any, Context], Any] = getattr(module, function)
    return handler


def _described(error: Exception, given: dict[str, Any], kind: str | None = None) -> dict[str, Any]:
    print(f"[ERROR] {type(error).__name__}: {error}")
    traceback.print_exception(error, file=sys.stdout)
    return {
        "errorMessage": str(error),
        "errorType": kind or type(error).__name__,
        "requestId": given["context"]["aws_request_id"],
        "stackTrace": traceback.format_tb(error.__traceback__),
    }


def _answer(given: dict[str, Any], payload: Any, *, is_error: bool) -> None:  # noqa: ANN401 - JSON
    sys.stdout.flush()
    with open(given["answer"], "w", encoding="utf-8") as file:  # noqa: PTH123 - one module less before the handler's
        json.dump({"payload": payload, "is_error": is_error}, file)


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
