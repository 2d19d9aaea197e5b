"""Compares what a template declares with what a service says."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_POLICIES = {"AssumeRolePolicyDocument", "PolicyDocument", "RepositoryPolicyText", "ResourcePolicy"}
_TAG = {"Key", "Value"}


@dataclass(frozen=True)
class Difference:
    """A property that is not as declared.

    Args:
        stack: The stack's name.
        logical_id: The resource's.
        path: The property's, for example `LifecycleConfiguration.Rules[1].Prefix`.
        declared: What the template says. None: nothing.
        found: What the service says. None: nothing.
    """

    stack: str
    logical_id: str
    path: str
    declared: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.stack}/{self.logical_id} {self.path}: declared {self.declared!r}, found {self.found!r}"


def compare(
    declared: Any,  # noqa: ANN401 - JSON
    found: Any,  # noqa: ANN401 - JSON
    path: str,
    unordered: Collection[str] = (),
) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, declared and found for everything that differs.

    Numbers, booleans and their texts are equal. Tags and attributes (lists of Key and Value) are compared by key, and
    may be more than declared: services add their own. Policies are compared by meaning.

    Args:
        declared: A property's value in the template.
        found: Its value in the service.
        path: The property's path.
        unordered: Paths of lists whose order means nothing, without indices.
    """
    if path.rpartition(".")[2] in _POLICIES:
        if _policy(declared) != _policy(found):
            yield path, _policy(declared), _policy(found)
    elif isinstance(declared, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys((*declared, *found)):
            yield from compare(declared.get(name), found.get(name), f"{path}.{name}", unordered)
    elif isinstance(declared, list) and isinstance(found, list):
        yield from _compare_lists(declared, found, path, unordered)
    elif _text(declared) != _text(found):
        yield path, declared, found


def _compare_lists(
    declared: list[Any], found: list[Any], path: str, unordered: Collection[str]
) -> Iterator[tuple[str, Any, Any]]:
    if declared and all(isinstance(each, Mapping) and set(each) == _TAG for each in declared):
        values = {each["Key"]: each["Value"] for each in found}
        for tag in declared:
            yield from compare(tag["Value"], values.get(tag["Key"]), f"{path}.{tag['Key']}")
        return
    if re.sub(r"\[\d+\]", "", path) in unordered:
        declared, found = _without_pairs(declared, found, path, unordered)
    for index in range(max(len(declared), len(found))):
        first, second = (each[index] if index < len(each) else None for each in (declared, found))
        yield from compare(first, second, f"{path}[{index}]", unordered)


def _without_pairs(
    declared: list[Any], found: list[Any], path: str, unordered: Collection[str]
) -> tuple[list[Any], list[Any]]:
    """Return what is left of both lists when each element has been put together with its equal."""
    missing, extra = [], list(found)
    for each in declared:
        equal = next((other for other in extra if not any(compare(each, other, path, unordered))), None)
        if equal is None:
            missing.append(each)
        else:
            extra.remove(equal)
    return missing, extra


def _text(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def _order(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _policy(document: Any) -> Any:  # noqa: ANN401 - JSON, or its text
    """Bring a policy into one form: lists everywhere, sorted, and an account's root as its number."""
    if isinstance(document, str):
        document = json.loads(document)
    if not isinstance(document, Mapping):
        return document
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    return {**document, "Statement": sorted((_leaves(each) for each in statements), key=_order)}


def _leaves(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {name: _leaves(each) for name, each in value.items()}
    texts = {str(_text(each)) for each in (value if isinstance(value, list) else [value])}
    return sorted(re.sub(r"^arn:aws:iam::(\d+):root$", r"\1", text) for text in texts)
