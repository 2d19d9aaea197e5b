"""docs/client.md says every failure of the tool in the tool's words, with its exit code, a cause and a mend."""

import re
from pathlib import Path

import pytest

from buildkit_ops import failures
from buildkit_ops.failures import Failure

PAGE = (Path(__file__).parent.parent / "docs" / "client.md").read_text()
FAILURES = [each for each in vars(failures).values() if isinstance(each, Failure)]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in PAGE.splitlines() if line.startswith("| `")
]


def plain(words: str) -> str:
    """Return a message without what sets off its open places: the page writes them as <name>, the code as {name}."""
    return re.sub(r"\{(\w+)[^}]*\}", r"<\1>", words).replace("`", "")


def test_the_page_lists_every_failure_once_and_no_other() -> None:
    codes = [row[0].strip("`") for row in ROWS if len(row) == 4]

    assert sorted(codes) == sorted(each.code for each in FAILURES)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
def test_the_page_says_a_failure_as_the_tool_does_with_its_exit_code_and_mend(failure: Failure) -> None:
    ((_, exit_code, message, mend),) = (row for row in ROWS if row[0] == f"`{failure.code}`" and len(row) == 4)

    assert (int(exit_code), plain(message)) == (failure.exit_code, plain(failure.words))
    assert len(mend.split()) >= 8


def test_the_page_explains_every_exit_code() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d) \| \w", PAGE, re.MULTILINE)}

    assert explained == {0} | {each.exit_code for each in FAILURES}
