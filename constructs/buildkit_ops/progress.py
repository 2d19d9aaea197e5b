"""What the tool says while it works: a line that changes on a terminal, else plain lines, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from buildkit_ops.waiting import Tell


@contextmanager
def progress() -> Iterator[Tell]:
    """Give what is to be called with what is being done."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda words: status.update(Text(words))
        return
    last = ""

    def tell(words: str) -> None:
        nonlocal last
        if words != last:
            console.print(words)
            last = words

    yield tell
