"""Which of several caches a build should import. The calls to AWS are elsewhere."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MOST_NAMES = 8
LONGEST_NAME = 200
"""Bytes, as `buildkit_ops.cache_scope` makes them."""

_NAME = re.compile(r"[A-Za-z0-9_.~%/!-]+")

Exists = Callable[[str, str, str], bool]
"""Tells whether the cache of a name is in a scope, for an architecture: `exists(architecture, scope, name)`."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a build could import.

    Args:
        names: Names of caches, the best first.
        architectures: The architectures that it is for.
    """

    names: tuple[str, ...]
    architectures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The cache to import.

    Args:
        scope: The scope that it is in.
        name: Its name.
        architectures: Those of the architectures asked for that it is there for.
    """

    scope: str
    name: str
    architectures: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as the caller gets it."""
        return asdict(self)


def read_question(event: Mapping[str, Any], architectures: Mapping[str, object]) -> Question:
    """Return what an event asks.

    Raises:
        ValueError: It is no question, names what is no cache name, or asks for an architecture that the fleet has not.
    """
    if set(event) != {"names", "architectures"} or not all(_is_list_of_text(each) for each in event.values()):
        raise ValueError(
            f"an event is a list of names and one of architectures; got {dict(event)!r}: call with "
            f'{{"names": ["app/feature", "app/main"], "architectures": ["{next(iter(architectures))}"]}}'
        )
    names, asked = event["names"], event["architectures"]
    if not 1 <= len(names) <= MOST_NAMES:
        raise ValueError(f"1 to {MOST_NAMES} names are looked for; got {len(names)}: name the likeliest")
    for name in names:
        if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
            raise ValueError(f"a name is what cache_name(project, branch) returns; got {name!r}: pass it through")
    unknown = [each for each in asked if each not in architectures]
    if unknown or not asked:
        raise ValueError(
            f"this fleet builds for {', '.join(architectures)}; got {asked!r}: name one of these, or ask another fleet"
        )
    return Question(names=tuple(dict.fromkeys(names)), architectures=tuple(dict.fromkeys(asked)))


def choose(question: Question, scopes: Sequence[str], exists: Exists) -> Choice | None:
    """Return the first cache that is there for every architecture asked for; else the first of those for most; or None.

    Names come before scopes: the first name in every scope, then the next. One cache is chosen, never two, because
    BuildKit at times follows only one of two imports that share steps (https://github.com/moby/buildkit/issues/6418).

    Args:
        question: What is asked.
        scopes: The scopes that the fleet may import from, the one that it writes first.
        exists: Looks for one.
    """
    best: Choice | None = None
    for name in question.names:
        for scope in scopes:
            found = tuple(each for each in question.architectures if exists(each, scope, name))
            if len(found) > (len(best.architectures) if best else 0):
                best = Choice(scope=scope, name=name, architectures=found)
            if found == question.architectures:
                return best
    return best


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
