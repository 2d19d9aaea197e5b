"""Evaluates IAM policies: actions, resources, principals, and the conditions that the templates use.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any

from local.emulator.errors import NotEmulatedError

Statement = Mapping[str, Any]
Context = Mapping[str, str | None]
"""Condition keys by their names in lower case; None says that AWS would give the key no value.

A name that ends with a slash stands for every key that begins so and is not there.
"""


class Decision(Enum):
    """What policies say of an action on a resource."""

    ALLOW = "allow"
    DENY = "deny"
    NEUTRAL = "neutral"


def decide(
    policies: Iterable[Mapping[str, Any]],
    action: str,
    resource: str | None,
    context: Context,
    principals: Iterable[str] | None = None,
) -> Decision:
    """Evaluate policies together: a Deny wins over an Allow.

    Args:
        policies: Parsed policy documents.
        action: For example `s3:GetObject`.
        resource: The resource's ARN. None: the emulator does not know it, which is an error as soon as it matters.
        context: The condition keys that are known.
        principals: Names of the caller, for the policy of a resource: `*`, `AWS:<arn>`, `Service:<name>`. Default:
            the policies are the caller's own and name no principal.

    Raises:
        NotEmulatedError: A statement that would count has a condition, an element or a variable not known here.
    """
    decision = Decision.NEUTRAL
    for policy in policies:
        for statement in _list(policy["Statement"]):
            if not _applies(statement, action, resource, context, principals):
                continue
            if statement["Effect"] == "Deny":
                return Decision.DENY
            decision = Decision.ALLOW
    return decision


def _applies(
    statement: Statement, action: str, resource: str | None, context: Context, principals: Iterable[str] | None
) -> bool:
    elements = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"}
    unknown = set(statement) - elements
    if unknown:
        raise NotEmulatedError(f"a policy statement with {', '.join(sorted(unknown))} is not evaluated here")
    if principals is not None and not _names(statement["Principal"]) & set(principals):
        return False
    name = "NotAction" if "NotAction" in statement else "Action"
    if any(_matches(each, action, ignore_case=True) for each in _list(statement[name])) is (name == "NotAction"):
        return False
    if not _resource_applies(statement, action, resource):
        return False
    conditions = statement.get("Condition", {})
    return all(
        _holds(operator, key, _list(expected), context)
        for operator, tests in conditions.items()
        for key, expected in tests.items()
    )


def _resource_applies(statement: Statement, action: str, resource: str | None) -> bool:
    if "Resource" not in statement and "NotResource" not in statement:
        return True  # a trust policy: the resource is the role that carries it
    name = "NotResource" if "NotResource" in statement else "Resource"
    patterns = _list(statement[name])
    if patterns == ["*"]:
        return name == "Resource"
    if resource is None:
        raise NotEmulatedError(f"the resource of {action} is not known, and a policy depends on it")
    return any(_matches(each, resource) for each in patterns) is (name == "Resource")


def _names(principal: object) -> set[str]:
    """Return a statement's principals, an account's root as its number."""
    if principal == "*":
        return {"*"}
    assert isinstance(principal, Mapping)  # noqa: S101 - IAM's grammar allows nothing else
    names = {f"{kind}:{value}" for kind, values in principal.items() for value in _list(values)}
    return {re.sub(r"^AWS:arn:aws:iam::(\d+):root$", r"AWS:\1", name).replace("AWS:*", "*") for name in names}


def _holds(operator: str, key: str, expected: list[Any], context: Context) -> bool:
    base = operator.removesuffix("IfExists")
    if base not in _OPERATORS and base != "Null":
        raise NotEmulatedError(f"the condition operator {operator} is not evaluated here")
    name = key.lower()
    if name not in context:
        name = name.partition("/")[0] + "/"
    if name not in context:
        raise NotEmulatedError(f"the condition key {key} is not known here")
    actual = context[name]
    if base == "Null":
        return (actual is None) is (str(expected[0]).lower() == "true")
    if actual is None:
        return operator != base or base in _NEGATED
    results = [_OPERATORS[base](_filled_in(_text(each), context), actual) for each in expected]
    return all(results) if base in _NEGATED else any(results)


def _filled_in(pattern: str, context: Context) -> str:
    """Write the caller's id where a pattern has its variable; any other variable stays, and is refused."""
    return pattern.replace("${aws:userid}", context.get("aws:userid") or "${aws:userid}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    return _expression(pattern, re.IGNORECASE if ignore_case else 0).fullmatch(value) is not None


@cache
def _expression(pattern: str, flags: int) -> re.Pattern[str]:
    if "${" in pattern:
        raise NotEmulatedError(f"the policy variable in {pattern} is not evaluated here")
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), flags | re.DOTALL)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "ArnEquals": _matches,
    "ArnNotEquals": lambda expected, actual: not _matches(expected, actual),
    "ArnLike": _matches,
    "ArnNotLike": lambda expected, actual: not _matches(expected, actual),
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "StringEquals": lambda expected, actual: expected == actual,
    "StringLike": _matches,
    "StringNotEquals": lambda expected, actual: expected != actual,
    "StringNotLike": lambda expected, actual: not _matches(expected, actual),
}
_NEGATED = {"ArnNotEquals", "ArnNotLike", "StringNotEquals", "StringNotLike"}


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - IAM allows one value in place of a list everywhere
    return value if isinstance(value, list) else [value]
