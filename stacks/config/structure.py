"""Turns one table of the file into settings, or into everything that is wrong with its keys and values."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, mapping_structure_factory

from buildkit_ops.architecture import Architecture
from stacks.config.durations import parse_longest_build
from stacks.config.problems import KeyPath, Problem, RefusalError, listing, suggestion
from stacks.config.values import one_of

_Settings = TypeVar("_Settings")
_Hook = Callable[[Any, Any], Any]

_KINDS: Mapping[type, tuple[str, str]] = {
    str: ("a string", "put it in quotes"),
    int: ("a whole number", "write digits, without quotes"),
    float: ("a number", "write digits, without quotes"),
    bool: ("true or false", "write one of the two, without quotes"),
    list: ("a list", "put it in square brackets"),
    dict: ("a table", "give it keys of its own"),
}

_LARGEST_NUMBER = 1e300

_CONVERTER = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)


def structure(value: object, kind: type[_Settings], path: KeyPath) -> tuple[_Settings | None, list[Problem]]:
    """Return the value as settings of that kind, or None and all its problems."""
    try:
        return _CONVERTER.structure(value, kind), []
    except (RefusalError, cattrs.BaseValidationError) as error:
        return None, list(_problems(error, path))


def unknown_key(path: KeyPath, key: str, allowed: list[str]) -> Problem:
    """Say that a table has no such key, and which is the nearest that it has."""
    words = f"got an unknown key, allowed {listing(allowed)}: {suggestion(key, allowed, 'remove it')}"
    return Problem((*path, key), words)


def _problems(error: Exception, path: KeyPath) -> Iterator[Problem]:
    match error:
        case ClassValidationError() | IterableValidationError():
            noted, others = error.group_exceptions()
            for inner, note in noted:
                yield from _problems(inner, (*path, _key(note)))
            for inner in others:
                yield from _problems(inner, path)
        case ForbiddenExtraKeysError():
            allowed = [field.name for field in fields(error.cl)]
            for key in error.extra_fields:
                yield unknown_key(path, key, allowed)
        case RefusalError():
            yield Problem(path, str(error))
        case KeyError():
            yield Problem(path, "got nothing, allowed a value, for it has no default here: add it")
        case _:
            raise error


def _key(note: AttributeValidationNote | IterableValidationNote) -> str | int:
    return note.name if isinstance(note, AttributeValidationNote) else note.index


def _require(value: object, kind: type) -> None:
    # cattrs would turn one kind of value into another, 1 into "1": here a wrong kind is a mistake to be told. And bool
    # is a kind of int in Python; a TOML true is no number.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RefusalError(value, *_KINDS[kind])


def _made_of(origin: object) -> Callable[[Any], bool]:
    return lambda kind: get_origin(cast("object", kind)) is origin


def _scalar(value: object, kind: type) -> object:
    _require(value, kind)
    return value


def _number(value: object, kind: type) -> float:
    # A whole number is a number too; TOML's nan and inf are none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_NUMBER:
        raise RefusalError(value, *_KINDS[kind])
    return float(value)


def _architecture(value: str, _: object) -> Architecture:
    _require(value, str)
    one_of(*Architecture)(value)
    return Architecture(value)


def _longest_build(value: object, _: object) -> timedelta:
    return parse_longest_build(value)


for _kind in (str, int, bool):
    _CONVERTER.register_structure_hook(_kind, _scalar)
_CONVERTER.register_structure_hook(float, _number)
_CONVERTER.register_structure_hook(Architecture, _architecture)
_CONVERTER.register_structure_hook(timedelta, _longest_build)


@_CONVERTER.register_structure_hook_factory(_made_of(tuple))
def _list(kind: Any) -> _Hook:  # noqa: ANN401 - a special form is no type
    inner = homogenous_tuple_structure_factory(kind, _CONVERTER)

    def structured(value: object, _: object) -> object:
        _require(value, list)
        entries = inner(value, kind)
        if not entries:
            raise RefusalError(value, "at least one entry", "add one, or leave the key out where it has a default")
        counts: Counter[object] = Counter(entries)
        twice = [entry for entry, count in counts.items() if count > 1]
        if twice:
            raise RefusalError(twice[0], "each entry once", "remove the second one")
        return entries

    return structured


@_CONVERTER.register_structure_hook_factory(_made_of(Mapping))
def _mapping(kind: Any) -> _Hook:  # noqa: ANN401 - a special form is no type
    return _table(mapping_structure_factory(kind, _CONVERTER))


@_CONVERTER.register_structure_hook_factory(is_dataclass)
def _settings(kind: Any) -> _Hook:  # noqa: ANN401 - any dataclass
    return _table(make_dict_structure_fn(kind, _CONVERTER, _cattrs_forbid_extra_keys=True))


def _table(inner: _Hook) -> _Hook:
    def structured(value: object, kind: object) -> object:
        _require(value, dict)
        return inner(value, kind)

    return structured


# Registered last, so asked first: an annotated list is a list too.
@_CONVERTER.register_structure_hook_factory(_made_of(Annotated))
def _annotated(kind: Any) -> _Hook:  # noqa: ANN401 - a special form is no type
    base, *checks = get_args(kind)
    inner = _CONVERTER.get_structure_hook(base)

    def structured(value: object, _: object) -> object:
        result = inner(value, base)
        for check in checks:
            check(result)
        return result

    return structured
