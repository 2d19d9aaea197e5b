"""The host agent: counts the running builds and publishes them, answers the load balancer, retires.

It keeps no state: started again, it takes the builder for busy a moment ago. Every line that it prints is a JSON
object, for metric filters.
"""

from __future__ import annotations

import os
import threading
import time
import traceback

from .agent_rules import Condition, Health, health
from .builds import IN_FLIGHT_BUILDS, count_builds
from .daemon_probe import answers
from .drain_rules import cause_of_drain
from .fleet_calls import Fleet
from .health_server import HealthServer
from .instance_metadata import MetadataError, read_place, read_signs
from .log import log
from .observer import Observer
from .publisher import Datum, Publisher
from .retirement import Retirement

LOOK_SECONDS = 5.0
"""Time between two looks at the metadata service, as AWS advises for interruption notices."""


class Agent:
    """A builder's own view of itself.

    Args:
        fleet: Its place.
        publisher: Where its metrics go.
        max_builds: Builds at which it takes no new ones.
        idle_timeout: Seconds without a build after which it retires.
        publish_seconds: Time between two publications.
    """

    def __init__(
        self, fleet: Fleet, publisher: Publisher, *, max_builds: int, idle_timeout: float, publish_seconds: float
    ) -> None:
        self._publisher = publisher
        self._max_builds = max_builds
        self._publish_seconds = publish_seconds
        self._cause_of_drain: str | None = None
        self._retirement = Retirement(
            fleet,
            idle_timeout=idle_timeout,
            count_builds=count_builds,
            is_draining=lambda: self._cause_of_drain is not None,
        )
        self._retires = fleet.group is not None
        self._observer = Observer(publisher, is_serving=lambda: self._cause_of_drain is None)

    def run(self) -> None:
        """Do all of it; returns never."""
        HealthServer(self.health).start()
        threading.Thread(target=self._publish_for_ever, daemon=True).start()
        threading.Thread(target=self._observer.watch, daemon=True).start()
        if self._retires:
            threading.Thread(target=self._retirement.watch, daemon=True).start()
        self._look_for_ever()

    def health(self) -> Health:
        """Return whether the builder takes new builds, at this moment."""
        condition = Condition(self._cause_of_drain, answers(), self._retirement.withdrawn, count_builds())
        return health(condition, self._max_builds)

    def _look_for_ever(self) -> None:
        while True:
            try:
                self._cause_of_drain = cause_of_drain(read_signs())
            except MetadataError as error:
                log("metadata_failed", error=str(error))
            time.sleep(LOOK_SECONDS)

    def _publish_for_ever(self) -> None:
        # On whole periods of the clock, so that each holds one datum of each builder.
        while True:
            time.sleep(self._publish_seconds - time.time() % self._publish_seconds)
            if self._cause_of_drain is None and not self._retirement.withdrawn:
                # Only who takes builds is a live builder: the average is what each of them has to do.
                self._publisher.add(
                    Datum(IN_FLIGHT_BUILDS, count_builds(), time.time(), unit="Count", high_resolution=True)
                )
            self._publisher.send()


def main() -> None:
    """Run, with the settings of the environment file."""
    # A thread that dies must not leave half an agent: systemd starts a whole one.
    threading.excepthook = _end
    # Fails, and is started again by systemd, until the metadata service answers.
    instance_id, group = read_place()
    Agent(
        Fleet(instance_id, os.environ["TARGET_GROUP"], group),
        Publisher(
            os.environ["METRIC_NAMESPACE"],
            {"Fleet": os.environ["FLEET"], "Architecture": os.environ["ARCHITECTURE"]},
        ),
        max_builds=int(os.environ["MAX_BUILDS"]),
        idle_timeout=float(os.environ["IDLE_TIMEOUT_SECONDS"]),
        publish_seconds=float(os.environ["PUBLISH_SECONDS"]),
    ).run()


def _end(arguments: threading.ExceptHookArgs) -> None:
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    main()
