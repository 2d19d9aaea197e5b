"""What a request to a service with a REST protocol asks for, of those that roles here may use.

https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

_FUNCTION = r"/\d{4}-\d{2}-\d{2}/functions/(?P<function>[^/]+)"
_ACTIONS: dict[str, list[tuple[str, re.Pattern[str], str]]] = {
    "lambda": [
        ("GET", re.compile(f"{_FUNCTION}/?"), "GetFunction"),
        ("GET", re.compile(f"{_FUNCTION}/configuration/?"), "GetFunctionConfiguration"),
        ("POST", re.compile(f"{_FUNCTION}/invocations/?"), "InvokeFunction"),
    ]
}

REST_JSON_SERVICES = frozenset(_ACTIONS)


def rest_action(service: str, method: str, raw_path: str) -> tuple[str, Mapping[str, str]]:
    """Return the action, as IAM names it, and what the path names; an empty action where it is not known here."""
    for known_method, pattern, action in _ACTIONS.get(service, []):
        found = pattern.fullmatch(raw_path)
        if found and method == known_method:
            return action, {name: unquote(value) for name, value in found.groupdict().items()}
    return "", {}
