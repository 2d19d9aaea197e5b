"""Runs a build once more when it lost its builder, and never when it failed by itself."""

from collections.abc import Callable, Sequence

from buildkit_ops.lost_builder import lost_builder
from buildkit_ops.passing_through import run
from buildkit_ops.waiting import Tell


def retry(command: Sequence[str], *, wait: Callable[[], None], say: Tell) -> int:
    """Run a build's command; when it lost its builder wait for another, and run it exactly once more.

    Args:
        command: The command.
        wait: Returns when there are builders again.
        say: Told what the command does not say itself.

    Returns:
        The command's exit code.

    Raises:
        ToolError: The command cannot be run, or no builder came.
    """
    first = run(command)
    loss = _loss(first.exit_code, first.said, signalled=first.signalled)
    if not loss:
        return first.exit_code
    say(f"the builder was lost ({loss}); the command is run once more when there is one")
    wait()
    say(f"running once more: {' '.join(command)}")
    second = run(command)
    again = _loss(second.exit_code, second.said, signalled=second.signalled)
    if again:
        say(f"the builder was lost a second time ({again}); not run again")
    return second.exit_code


def _loss(exit_code: int, said: str, *, signalled: bool) -> str | None:
    return lost_builder(said) if exit_code and not signalled else None
