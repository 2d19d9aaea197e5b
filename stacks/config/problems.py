"""How a problem is told: the key's path, what was given, what is allowed and how to mend it, on one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from difflib import get_close_matches

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file down to a value."""

LONGEST_QUOTE = 60
"""Characters of a given value that a message repeats."""


class ConfigError(Exception):
    """The configuration is refused. `str()` of it is the whole message for the operator, one problem a line."""


class RefusalError(ValueError):
    """One value is refused. Its words are the part of the message after the path.

    Args:
        given: The value as the file has it.
        allowed: What may stand there.
        mend: What to do about it.
    """

    def __init__(self, given: object, allowed: str, mend: str) -> None:
        super().__init__(f"got {quote(given)}, allowed {allowed}: {mend}")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in the file, and where."""

    path: KeyPath
    words: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.words}"


def refused(path: KeyPath, given: object, allowed: str, mend: str) -> Problem:
    """Say what is wrong at a path, as a `RefusalError` does of one value."""
    return Problem(path, f"got {given}, allowed {allowed}: {mend}")


def dotted(path: KeyPath) -> str:
    """Write a path as TOML does, `builders.main.architectures[1]`; a key that is not bare is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else quote(part)
            text += f".{key}" if text else key
    return text


def quote(value: object) -> str:
    """Write a value of a TOML file so that it fits in a message: on one line, printable, short."""
    text = "a huge integer"  # Python refuses to write out the longest
    match value:
        case bool():
            text = str(value).lower()
        case str():
            text = _quoted(value if len(value) <= LONGEST_QUOTE else f"{value[:LONGEST_QUOTE]}...")
        case date() | time():
            text = value.isoformat()
        case list() | tuple():
            text = "a list" if value else "an empty list"
        case dict():
            text = "a table" if value else "an empty table"
        case float():
            text = repr(value)
        case int() if abs(value) < 10**LONGEST_QUOTE:
            text = str(value)
    return text


def _quoted(text: str) -> str:
    escaped = (
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{"".join(escaped)}"'


def listing(names: Sequence[str]) -> str:
    """Join the names of what is allowed."""
    return ", ".join(names)


def suggestion(given: str, names: Sequence[str], otherwise: str) -> str:
    """Name the nearest of the allowed names, or say what else to do when none is near."""
    near = get_close_matches(given, names, n=1)
    return f"did you mean {near[0]}?" if near else otherwise
