"""Asks the emulator itself, not the account: see `control`."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

_PATIENCE_SECONDS = 30


class EmulatorError(Exception):
    """The emulator did not start, or refused what it was asked; the message says why."""


def ask(endpoint_url: str, operation: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Carry out an operation of the emulator's, and return its answer.

    Raises:
        EmulatorError: It refuses.
    """
    request = urllib.request.Request(  # noqa: S310 - the emulator's own address
        f"{endpoint_url}/_emulator/{operation}", data=json.dumps(given).encode()
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=_PATIENCE_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise EmulatorError(json.load(error)["error"]) from None
