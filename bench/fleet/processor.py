"""The processors of one builder, shared by its builds."""

from collections.abc import Callable
from heapq import heappop, heappush

import simpy

_ROUNDING = 1e-9


class Processor:
    """Runs builds side by side, each as fast as alone until they want more cores than there are.

    Beyond that every build gets the same share: what the kernel's scheduler does with build steps of one weight.

    Args:
        env: The simulation.
        vcpus: Cores of the builder.
        cores_per_build: Cores that one build keeps busy.
    """

    def __init__(self, env: simpy.Environment, *, vcpus: float, cores_per_build: float) -> None:
        self._env = env
        self._builds_at_full_speed = vcpus / cores_per_build
        # Seconds that each build has run at full speed since the beginning: the same for all, so that the order in
        # which they end is known when they come.
        self._progress = 0.0
        self._seen = env.now
        self._ends: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._plan = 0

    @property
    def builds(self) -> int:
        """Builds that run."""
        return len(self._ends)

    @property
    def utilization(self) -> float:
        """The share of the cores that is busy."""
        return min(1.0, len(self._ends) / self._builds_at_full_speed)

    def run(self, seconds: float, then: Callable[[], None]) -> None:
        """Run a build that takes so long alone, and call back at its end."""
        self._advance()
        self._count += 1
        heappush(self._ends, (self._progress + seconds, self._count, then))
        self._schedule()

    def kill(self) -> None:
        """Drop every build, without a call back."""
        self._advance()
        self._ends.clear()
        self._schedule()

    @property
    def _speed(self) -> float:
        return min(1.0, self._builds_at_full_speed / len(self._ends))

    def _advance(self) -> None:
        if self._ends:
            self._progress += (self._env.now - self._seen) * self._speed
        self._seen = self._env.now

    def _schedule(self) -> None:
        self._plan += 1
        if not self._ends:
            return
        delay = max(0.0, (self._ends[0][0] - self._progress) / self._speed)
        timeout = self._env.timeout(delay, value=self._plan)
        timeout.callbacks.append(self._on_end)

    def _on_end(self, event: simpy.Event) -> None:
        if event.value != self._plan:
            return  # builds have come or gone since
        self._advance()
        ended = []
        while self._ends and self._ends[0][0] <= self._progress + _ROUNDING:
            ended.append(heappop(self._ends)[2])
        self._schedule()
        for then in ended:
            then()
