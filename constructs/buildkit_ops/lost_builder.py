"""Tells from what buildx said last that a build lost its builder, and did not fail by itself.

Each pattern is a whole line that buildx was seen to print, with exit code 1, when a real buildkitd v0.31.2 was taken
from it; tests/test_client_faults_real.py does it again. It is matched from its first word to its last, and only as the
last line of all: a build that fails by itself ends in other words, whatever its steps print.
"""

import re

_UNAVAILABLE = r"(failed to solve: Unavailable: |failed to receive status: rpc error: code = Unavailable desc = )"

LOSSES = (
    # buildkitd was killed; the load balancer closed the flow.
    rf"{_UNAVAILABLE}error reading from server: EOF",
    # The flow was reset, as a network load balancer does with one that it knows no more; nobody answered on it for as
    # long as the client's kernel tries.
    rf"{_UNAVAILABLE}error reading from server: read tcp \S+->\S+: read: connection (reset by peer|timed out)",
    # buildkitd was told to leave, and then killed: a drain past its limit, a third SIGTERM.
    (
        rf'{_UNAVAILABLE}closing transport due to: connection error: desc = "error reading from server: [^"]+", '
        r'received prior goaway: code: NO_ERROR, debug data: "graceful_stop"'
    ),
    # No builder answered for the twenty seconds that buildx waits.
    r"context deadline exceeded",
)
"""What follows `ERROR: `, or `ERROR: failed to build: `; `bake` leaves the latter out."""

_LOSS = re.compile(rf"ERROR: (failed to build: )?({'|'.join(LOSSES)})")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lost_builder(said: str) -> str | None:
    """Return buildx's last word if it means that the builder was lost, else None.

    Args:
        said: The end of what buildx wrote to standard error.
    """
    last = _ESCAPE.sub("", said).rstrip().rpartition("\n")[2].strip()
    return last if _LOSS.fullmatch(last) else None
