"""Resolves a template's intrinsic functions against the stack that was made from it.

Written apart from the engine that deploys, so that an error there does not look right here.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_NO_VALUE = object()


class ReadBackError(Exception):
    """A template cannot be compared with its stack; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template together with what its stack made of it.

    Args:
        document: The template.
        pseudo_parameters: The values of `AWS::Region` and its like.
        parameters: The values of the stack's parameters.
        physical_ids: What Ref gives, by logical id.
        attribute: Gives what Fn::GetAtt gives, from logical id and attribute.
        exports: The account's exports.
        availability_zones: Those of the region, in order.
    """

    document: Mapping[str, Any]
    pseudo_parameters: Mapping[str, str]
    parameters: Mapping[str, Any]
    physical_ids: Mapping[str, str]
    attribute: Callable[[str, str], Any]
    exports: Mapping[str, str]
    availability_zones: list[str]
    _functions: dict[str, Callable[[Any], Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        functions = {
            "Ref": self._ref,
            "Fn::Base64": lambda value: base64.b64encode(self.resolve(value).encode()).decode(),
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAtt": self._get_att,
            "Fn::GetAZs": lambda _: self.availability_zones,
            "Fn::If": lambda value: self.resolve(value[1 if self.condition(value[0]) else 2]),
            "Fn::ImportValue": self._import,
            "Fn::Join": lambda value: value[0].join(self.resolve(value[1])),
            "Fn::Select": lambda value: self.resolve(value[1])[int(self.resolve(value[0]))],
            "Fn::Split": lambda value: self.resolve(value[1]).split(value[0]),
            "Fn::Sub": self._sub,
        }
        object.__setattr__(self, "_functions", functions)

    @property
    def resources(self) -> dict[str, Mapping[str, Any]]:
        """The resources that the stack has: those whose condition holds."""
        return {
            logical_id: resource
            for logical_id, resource in self.document["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Return a resource's properties without intrinsic functions."""
        resolved: dict[str, Any] = self.resolve(self.document["Resources"][logical_id].get("Properties", {}))
        return resolved

    def outputs(self) -> dict[str, str]:
        """Return the values of the outputs whose condition holds."""
        return {
            name: self.resolve(output["Value"])
            for name, output in self.document.get("Outputs", {}).items()
            if "Condition" not in output or self.condition(output["Condition"])
        }

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 - a template is JSON
        """Return a value without intrinsic functions.

        Raises:
            ReadBackError: A function, or what it names, is not known.
        """
        if isinstance(value, Mapping):
            if len(value) == 1:
                ((name, argument),) = value.items()
                if name in self._functions:
                    return self._functions[name](argument)
                if name.startswith("Fn::"):
                    raise ReadBackError(f"the function {name} is not resolved here")
            pairs = ((name, self.resolve(each)) for name, each in value.items())
            return {name: each for name, each in pairs if each is not _NO_VALUE}
        if isinstance(value, list):
            return [each for each in map(self.resolve, value) if each is not _NO_VALUE]
        if isinstance(value, str) and "{{resolve:" in value:
            raise ReadBackError(f"the dynamic reference {value} is not resolved here")
        return value

    def condition(self, given: Any) -> bool:  # noqa: ANN401 - a name, or a function as JSON
        """Evaluate a condition, given by name or as a function."""
        if isinstance(given, str):
            return self.condition(self.document["Conditions"][given])
        ((name, argument),) = given.items()
        if name == "Condition":
            return self.condition(argument)
        if name == "Fn::Equals":
            first, second = map(self.resolve, argument)
            return bool(first == second)
        if name == "Fn::Not":
            return not self.condition(argument[0])
        if name in ("Fn::And", "Fn::Or"):
            return (all if name == "Fn::And" else any)(map(self.condition, argument))
        raise ReadBackError(f"the condition function {name} is not evaluated here")

    def _ref(self, name: str) -> Any:  # noqa: ANN401 - text or a list of text
        if name == "AWS::NoValue":
            return _NO_VALUE
        for known in (self.pseudo_parameters, self.parameters, self.physical_ids):
            if name in known:
                return known[name]
        raise ReadBackError(f"there is no {name} to refer to")

    def _get_att(self, argument: Any) -> Any:  # noqa: ANN401 - text or a list of text
        logical_id, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        return self.attribute(logical_id, attribute)

    def _find_in_map(self, argument: list[Any]) -> Any:  # noqa: ANN401 - text or a list of text
        name, first, second = map(self.resolve, argument)
        return self.document["Mappings"][name][first][second]

    def _import(self, argument: Any) -> str:  # noqa: ANN401 - JSON
        name = self.resolve(argument)
        if name not in self.exports:
            raise ReadBackError(f"nothing exports {name}")
        return self.exports[name]

    def _sub(self, argument: Any) -> str:  # noqa: ANN401 - text, or text and variables
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replace(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in variables:
                return str(self.resolve(variables[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replace, text)
