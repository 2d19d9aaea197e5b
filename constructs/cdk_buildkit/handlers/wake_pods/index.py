"""The function's entry: `{"waiting_jobs": {"arm64": 3}}` wakes builders and returns how many there are and come."""

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from cdk_buildkit.handlers.waiting_jobs import read_waiting_jobs
from cdk_buildkit.handlers.wake_pods.metrics import FleetMetrics
from cdk_buildkit.handlers.wake_pods.waking import answer


def handler(event: Mapping[str, Any], _context: object) -> dict[str, dict[str, Any]]:
    """Wake the builders of each architecture that is asked for.

    Args:
        event: `{"waiting_jobs": {<architecture>: <how many jobs the caller has waiting>, ...}}`.

    Returns:
        For each of them `waiting_jobs`, `wanted` builders, how many are `in_service` and `coming`, `max_capacity`, and
        a `message` for whoever waits.

    Raises:
        ValueError: The event asks for nothing, or for what the fleet has not.
    """
    capacities: dict[str, int] = json.loads(os.environ["MAX_CAPACITIES"])
    jobs = read_waiting_jobs(event, capacities)
    metrics = FleetMetrics(
        boto3.client("cloudwatch"),
        namespace=os.environ["METRIC_NAMESPACE"],
        fleet=os.environ["FLEET"],
        in_flight=os.environ["IN_FLIGHT_METRIC"],
        waiting=os.environ["WAITING_METRIC"],
        publish_seconds=float(os.environ["PUBLISH_SECONDS"]),
    )
    metrics.put_waiting(jobs)
    answers = {
        architecture: answer(
            number,
            builds_per_builder=float(os.environ["BUILDS_PER_BUILDER"]),
            in_service=metrics.live_builders(architecture),
            max_capacity=capacities[architecture],
        ).as_json()
        for architecture, number in jobs.items()
    }
    print(json.dumps({"event": "woken", "answers": answers}))  # noqa: T201 - the function's log
    return answers
