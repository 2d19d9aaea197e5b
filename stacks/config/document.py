"""Reads a TOML file, or tells in one sentence why it cannot be read."""

import re
import tomllib
from pathlib import Path
from typing import Any

from stacks.config.problems import ConfigError, quote

_POSITION = re.compile(
    r"(?P<reason>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)
_LONG_NUMBER = re.compile(r"[0-9](_?[0-9]){4000,}")


def read_document(path: Path) -> dict[str, Any]:
    """Return the file's contents.

    Raises:
        ConfigError: There is no such file, it cannot be read, or it is not TOML.
    """
    text = _read(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown(path)}: {_syntax_error(str(error), text)}") from error
    except RecursionError as error:
        raise ConfigError(f"{shown(path)}: lists or tables are nested too deeply: flatten them") from error
    except ValueError as error:
        # Python converts no number of more than 4,300 digits, and tomllib lets that error through.
        match = _LONG_NUMBER.search(text)
        where = f"{_line_and_column(text, match.start())}: " if match else ""
        raise ConfigError(f"{shown(path)}: {where}a number is too long to be read: shorten it") from error


def shown(path: Path) -> str:
    """Write a file's name on one line, whatever it is made of."""
    return str(path) if str(path).isprintable() else quote(str(path))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # Windows editors begin with a byte order mark
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        where = _line_and_column(before, len(before))
        raise ConfigError(f"{shown(path)}: {where}: not UTF-8: save the file in that encoding") from error
    except FileNotFoundError as error:
        raise ConfigError(
            f"{shown(path)}: no such file, looked for {shown(path.absolute())}: name the configuration's file with "
            "-c config=<file>, or start from the builders.toml that comes with the project"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file's name"
        raise ConfigError(
            f"{shown(path)}: cannot be read ({reason}): name a readable TOML file with -c config=<file>"
        ) from error


def _syntax_error(message: str, text: str) -> str:
    match = _POSITION.fullmatch(message)
    if match and match["line"]:
        where = f"line {match['line']}, column {match['column']}"
    else:
        where = _line_and_column(text, len(text))
    reason = match["reason"] if match else message
    return f"{where}: not valid TOML: {reason}: correct it there"


def _line_and_column(text: str, offset: int) -> str:
    before = text[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"
