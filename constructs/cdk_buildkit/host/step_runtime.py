#!/usr/bin/python3 -IS
"""The OCI runtime of RUN steps: runc, given less than BuildKit asks for, which has no setting for any of it.

Runs on the builder with the AMI's own Python 3.9, in place of runc and with its arguments: twice for every step, so it
imports only what it uses. `pathlib` and `typing` would double its time.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RUNC = os.environ.get("BUILDKIT_RUNC", "/usr/local/bin/buildkit-runc")

REFUSED_CAPABILITY = "CAP_NET_RAW"
"""With frames of its own making, a step would take over the addresses of other builds' steps on the same bridge."""

MOST_PROCESSES = 16384
"""Of a step: a fork bomb ends there, not at the builder's last process id."""

OOM_SCORE_ADJUSTMENT = 1000
"""What goes first when memory runs out. Inherited it would be the daemon's, and spare steps before the host's own. In a
pod the kubelet gives the daemon a score of up to 999."""

CPU_PERIOD = 100_000
LEAST_CPU_QUOTA = 1_000
"""Microseconds, the kernel's own default and least.

Source: https://docs.kernel.org/scheduler/sched-bwc.html
"""


def main() -> None:
    """Become runc."""
    _, *arguments = sys.argv
    if "--bundle" in arguments:
        bundle = arguments[arguments.index("--bundle") + 1]
        rewrite(os.path.join(bundle, "config.json"), confine)  # noqa: PTH118 - see above
    elif "--process" in arguments:  # of `exec`, into a container that runs
        rewrite(arguments[arguments.index("--process") + 1], refuse_capability)
    with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - see above
        file.write(str(OOM_SCORE_ADJUSTMENT))
    os.execv(RUNC, [RUNC, *arguments])  # noqa: S606 - nothing is to interpret the arguments


def rewrite(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON document."""
    import json  # noqa: PLC0415 - `runc delete` needs none

    with open(path, "r+") as file:  # noqa: PTH123 - see above
        document = json.load(file)
        change(document)
        file.seek(0)
        json.dump(document, file)
        file.truncate()


def confine(specification: dict[str, Any]) -> None:
    """Change a container's specification.

    Source: https://github.com/opencontainers/runtime-spec/blob/main/config.md
    """
    refuse_capability(specification["process"])
    resources = specification["linux"].setdefault("resources", {})
    resources["pids"] = {"limit": MOST_PROCESSES}
    limit_use(resources)


def limit_use(resources: dict[str, Any]) -> None:
    """Limit the memory and the processors of a container, to less than its client has asked for where that is more."""
    memory, cpus = int(os.environ.get("STEP_MEMORY_BYTES", "0")), float(os.environ.get("STEP_CPUS", "0"))
    if memory:
        given = resources.setdefault("memory", {})
        given["limit"] = min(positive(given.get("limit")) or memory, memory)
        # Of memory and swap together: a step that is limited does not swap instead.
        given["swap"] = given["limit"]
    if cpus:
        given = resources.setdefault("cpu", {})
        period = given.get("period") or CPU_PERIOD
        most = max(LEAST_CPU_QUOTA, int(cpus * period))
        given.update(period=period, quota=min(positive(given.get("quota")) or most, most))


def positive(limit: int | None) -> int:
    """Return a limit, 0 for none: to the runtime -1 is none too."""
    return max(limit or 0, 0)


def refuse_capability(process: dict[str, Any]) -> None:
    """Take a capability from each set of a process."""
    sets: dict[str, list[str]] = process.get("capabilities", {})
    for name, capabilities in sets.items():
        sets[name] = [each for each in capabilities if each != REFUSED_CAPABILITY]


if __name__ == "__main__":
    main()
