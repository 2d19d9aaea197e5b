"""How many builders waiting jobs call for, as metrics on which an autoscaler acts. The calls to AWS are elsewhere."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from cdk_buildkit.handlers.waiting_jobs import Answer, count_builders

PERIOD = timedelta(seconds=10)
"""How far apart the data of one call are. The autoscaler looks at the newest whole period of this length."""

HOLD = timedelta(minutes=3)
"""How long one call counts: until the autoscaler has looked, on its worst day. It remembers by itself from then on."""


def data_times(now: datetime) -> Iterator[datetime]:
    """Give the times of one call's data: one in the newest whole period, and one in each that comes until it ends.

    So that the largest of all calls is what every period shows, whoever called last. CloudWatch takes data of the next
    two hours (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html).
    """
    at = now - PERIOD
    while at <= now + HOLD:
        yield at
        at += PERIOD


def count_live(samples: float, recent_samples: float, per_builder: float) -> int:
    """Return how many builders publish.

    Args:
        samples: What they published in the newest whole window.
        recent_samples: What they published since.
        per_builder: How often one publishes in a window.
    """
    return max(round(samples / per_builder), 1 if samples or recent_samples else 0)


def answer(waiting_jobs: int, *, builds_per_builder: float, in_service: int, max_capacity: int) -> Answer:
    """Say how many builders so many waiting jobs call for, how many are there, and how many will come."""
    wanted = math.ceil(waiting_jobs / builds_per_builder)
    coming = max(0, min(wanted, max_capacity) - in_service)
    words = f"{count_builders(in_service)} in service, {coming} coming"
    if wanted > max_capacity:
        words += f"; the waiting jobs call for {wanted}, and max_capacity is {max_capacity}"
    return Answer(
        waiting_jobs=waiting_jobs,
        wanted=wanted,
        in_service=in_service,
        coming=coming,
        max_capacity=max_capacity,
        message=words,
    )
