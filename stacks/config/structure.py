"""Turns one table of the file into settings, or into everything that is wrong with its keys and values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
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
    bool: ("true or false", "write one of the two, without quotes"),
    list: ("a list", "put it in square brackets"),
    dict: ("a table", "give it keys of its own"),
}


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
                yield from _problems(inner, (*path, note.index if hasattr(note, "index") else note.name))
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


def _require(value: object, kind: type) -> None:
    # bool is a kind of int in Python; a TOML true is no number.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RefusalError(value, *_KINDS[kind])


def _scalar(value: object, kind: type) -> object:
    _require(value, kind)
    return value


def _architecture(value: object, _: object) -> Architecture:
    _require(value, str)
    one_of(*Architecture)(cast("str", value))
    return Architecture(cast("str", value))


def _annotated(kind: Any, converter: cattrs.BaseConverter) -> _Hook:  # noqa: ANN401 - a special form is no type
    base, *checks = get_args(kind)
    inner = converter.get_structure_hook(base)

    def structured(value: object, _: object) -> object:
        result = inner(value, base)
        for check in checks:
            check(result)
        return result

    return structured


def _tuple(kind: Any, converter: cattrs.BaseConverter) -> _Hook:  # noqa: ANN401 - a special form is no type
    inner = homogenous_tuple_structure_factory(kind, converter)

    def structured(value: object, _: object) -> object:
        _require(value, list)
        result = inner(value, kind)
        if not result:
            raise RefusalError(value, "at least one entry", "add one, or leave the key out where it has a default")
        for position, entry in enumerate(result):
            if entry in result[:position]:
                raise RefusalError(str(entry), "each entry once", "remove the second one")
        return result

    return structured


def _table(inner: _Hook) -> _Hook:
    def structured(value: object, kind: object) -> object:
        _require(value, dict)
        return inner(value, kind)

    return structured


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    # cattrs would turn one kind of value into another, 1 into "1": here a wrong kind is a mistake to be told.
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _scalar)
    converter.register_structure_hook(Architecture, _architecture)
    converter.register_structure_hook(timedelta, lambda value, _: parse_longest_build(value))
    converter.register_structure_hook_factory(lambda kind: get_origin(kind) is tuple, _tuple)
    converter.register_structure_hook_factory(
        lambda kind: get_origin(kind) is Mapping, lambda kind, inner: _table(mapping_structure_factory(kind, inner))
    )
    converter.register_structure_hook_factory(
        is_dataclass,
        lambda kind, inner: _table(make_dict_structure_fn(kind, inner, _cattrs_forbid_extra_keys=True)),
    )
    converter.register_structure_hook_factory(lambda kind: get_origin(kind) is Annotated, _annotated)
    return converter


_CONVERTER = _make_converter()
