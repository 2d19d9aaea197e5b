"""What a fleet's scaling parameters may be, and the words with which others are refused."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from aws_cdk import Size

from cdk_buildkit import BuilderScaling, CapacitySchedule, WarmPool

REFUSED: list[tuple[Callable[[], object], str]] = [
    (
        lambda: BuilderScaling(target_builds_per_builder=5, max_builds=4),
        "or builders turn builds away before others come; got target_builds_per_builder 5, max_builds 4: lower the one",
    ),
    (lambda: BuilderScaling(target_builds_per_builder=0), "got target_builds_per_builder 0, max_builds 4"),
    (lambda: BuilderScaling(idle_timeout=timedelta(seconds=59)), "idle_timeout is at least 0:01:00; got 0:00:59"),
    (lambda: BuilderScaling(on_demand_percentage=101), "on_demand_percentage 0 to 100; got 0 and 101"),
    (lambda: BuilderScaling(on_demand_base_capacity=-1), "on_demand_base_capacity is 0 or more"),
    (lambda: BuilderScaling(max_parallelism=0), "max_parallelism is at least 1; got 0: raise it, or leave it out"),
    (
        lambda: BuilderScaling(step_memory=Size.mebibytes(32)),
        "step_memory is at least 64 MiB; got 33554432 bytes: raise it, or leave it out",
    ),
    (lambda: BuilderScaling(step_cpus=0.05), "step_cpus is at least 0.1; got 0.05: raise it, or leave it out"),
    (lambda: WarmPool(min_size=-1), "a warm pool's min_size is 0 or more; got -1: raise it"),
    (lambda: WarmPool(max_prepared_capacity=-1), "a warm pool's max_prepared_capacity is 0 or more; got -1"),
    (lambda: CapacitySchedule(cron="0 8 * * *"), "changes min_capacity, max_capacity or both"),
    (
        lambda: CapacitySchedule(cron="0 8 * * *", min_capacity=4, max_capacity=2),
        "0 <= min_capacity <= max_capacity and 1 <= max_capacity; got cron '0 8 * * *', min_capacity 4, max_capacity 2",
    ),
    (lambda: CapacitySchedule(cron="0 8 * * *", max_capacity=0), "1 <= max_capacity"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_parameters_that_cannot_work_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are asserted below, as they stand
        make()

    assert words in str(refusal.value)
