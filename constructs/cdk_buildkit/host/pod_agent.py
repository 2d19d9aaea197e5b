"""The agent of a builder that is a pod: counts the running builds and publishes them, and says whether more may come.

It has no rights in Kubernetes: that the pod is to go it learns from the pod's own hook. Every line that it prints is a
JSON object.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path

from .agent_rules import Condition, Health, health
from .builds import IN_FLIGHT_BUILDS, count_builds
from .daemon_probe import answers
from .health_server import HealthServer
from .log import log
from .observer import Observer
from .publisher import Datum, Publisher

READY_PATH = "/ready"

LEAVING = Path("/run/buildkit/leaving")
"""Made by pod_leave.sh."""

LOOK_SECONDS = 1.0


class PodAgent:
    """A pod's own view of its builder.

    Args:
        publisher: Where its metrics go.
        max_builds: Builds at which load balancers are told to send new ones elsewhere.
        drain_seconds: How long a drain may take until builds are lost.
        publish_seconds: Time between two publications.
        leaving: The file that is there from when the pod is to go.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        max_builds: int,
        drain_seconds: float,
        publish_seconds: float,
        leaving: Path = LEAVING,
    ) -> None:
        self._publisher = publisher
        self._max_builds = max_builds
        self._drain_seconds = drain_seconds
        self._publish_seconds = publish_seconds
        self._leaving = leaving
        self._observer = Observer(publisher, is_serving=lambda: not self._is_leaving())

    def run(self) -> None:
        """Do all of it, until SIGTERM."""
        ended = threading.Event()
        # As the first process of its container it would not get a signal that it does not ask for.
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        HealthServer(self.health, others={READY_PATH: self.readiness}).start()
        threading.Thread(target=self._publish_for_ever, daemon=True).start()
        threading.Thread(target=self._observer.watch, daemon=True).start()
        threading.Thread(target=self.watch_drain, daemon=True).start()
        ended.wait()
        self._publisher.send()

    def health(self) -> Health:
        """Return whether the builder takes new builds, at this moment."""
        return health(self._condition(), self._max_builds)

    def readiness(self) -> Health:
        """Return whether clients may be sent here at all, be it full or not.

        Full builders are behind the address still: one that nobody else can be taken for is better than none.
        """
        condition = self._condition()
        return health(condition, max_builds=condition.builds + 1)

    def watch_drain(self) -> None:
        """Wait until the pod is to go, and tell of builds that are not given their time."""
        while not self._is_leaving():
            time.sleep(LOOK_SECONDS)
        log("drain_started", cause="the pod is to go", builds=count_builds())
        until = time.monotonic() + self._drain_seconds
        while time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        # The kubelet is about to kill what is left, this agent too.
        builds = count_builds()
        if builds:
            log("drain_timed_out", builds=builds)
            log("builds_lost", cause="longest_build", builds=builds)
            now = time.time()
            self._publisher.add(
                Datum("DrainTimeouts", 1, now, unit="Count"), Datum("BuildsLost", builds, now, unit="Count")
            )
            self._publisher.send()

    def _condition(self) -> Condition:
        return Condition(
            "the pod is to go" if self._is_leaving() else None, answers(), withdrawn=False, builds=count_builds()
        )

    def _is_leaving(self) -> bool:
        return self._leaving.exists()

    def _publish_for_ever(self) -> None:
        # On whole periods of the clock, so that each holds one datum of each builder.
        while True:
            time.sleep(self._publish_seconds - time.time() % self._publish_seconds)
            if not self._is_leaving():
                # Only who takes builds is a live builder: the average is what each of them has to do.
                self._publisher.add(
                    Datum(IN_FLIGHT_BUILDS, count_builds(), time.time(), unit="Count", high_resolution=True)
                )
            self._publisher.send()


def main() -> None:
    """Run, with the settings of the environment."""
    # A thread that dies must not leave half an agent: the kubelet starts a whole one.
    threading.excepthook = _end
    PodAgent(
        Publisher(
            os.environ["METRIC_NAMESPACE"],
            {"Fleet": os.environ["FLEET"], "Architecture": os.environ["ARCHITECTURE"]},
        ),
        max_builds=int(os.environ["MAX_BUILDS"]),
        drain_seconds=float(os.environ["SETTLING_SECONDS"]) + float(os.environ["LONGEST_BUILD_SECONDS"]),
        publish_seconds=float(os.environ["PUBLISH_SECONDS"]),
    ).run()


def _end(arguments: threading.ExceptHookArgs) -> None:
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    main()
