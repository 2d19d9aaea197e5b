"""Publish metrics to CloudWatch: what has gathered goes in few calls, and what could not be sent goes with the next."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Mapping, NamedTuple  # noqa: UP035 - generics of collections.abc are read by 3.11 alone

from .aws_command import CallError, aws_with_input
from .log import log

BATCH = 500
"""Data in one call. CloudWatch takes 1,000, and 1 MB
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html)."""

MOST_WAITING = 5000
"""Data that are kept while CloudWatch does not answer; beyond it the oldest are lost."""


class Datum(NamedTuple):
    """One value of a metric.

    `dimensions` are added to the publisher's own; `unit` is one of CloudWatch's. `high_resolution` data are kept by
    the second, others by the minute. `at` is seconds since the epoch.
    """

    name: str
    value: float
    at: float
    unit: str = "None"
    dimensions: Mapping[str, str] = {}
    high_resolution: bool = False


class Publisher:
    """Takes data from any thread, and sends them when it is told to.

    Args:
        namespace: The metrics' namespace.
        dimensions: What every datum carries.
    """

    def __init__(self, namespace: str, dimensions: Mapping[str, str]) -> None:
        self._namespace = namespace
        self._dimensions = dimensions
        self._lock = threading.Lock()
        self._waiting: deque[Datum] = deque(maxlen=MOST_WAITING)

    def add(self, *data: Datum) -> None:
        """Take data, to be sent with the next call."""
        with self._lock:
            self._waiting.extend(data)

    def send(self) -> None:
        """Send what waits; what CloudWatch does not take is logged, and waits on."""
        while batch := self._take():
            request = {"Namespace": self._namespace, "MetricData": [self._written(datum) for datum in batch]}
            try:
                aws_with_input("cloudwatch", "put-metric-data", request)
            except CallError as error:
                log("call_failed", error=str(error))
                self._put_back(batch)
                return

    def _take(self) -> list[Datum]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _put_back(self, batch: list[Datum]) -> None:
        with self._lock:
            room = MOST_WAITING - len(self._waiting)
            self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))

    def _written(self, datum: Datum) -> dict[str, object]:
        dimensions = {**self._dimensions, **datum.dimensions}
        return {
            "MetricName": datum.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(datum.at)),
            "Value": datum.value,
            "Unit": datum.unit,
            "StorageResolution": 1 if datum.high_resolution else 60,
        }
