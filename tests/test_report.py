"""What makes a run of `make local` a failure, and what its report says."""

from dataclasses import replace
from typing import Any

import pytest

from local.report import Case, JobRun, Replacement, Report, Tiers


def case(name: str, *, seconds: float = 1.0, cached_steps: int = 5) -> Case:
    return Case(
        name=name,
        fresh_builder=True,
        seconds=seconds,
        steps=5,
        cached_steps=cached_steps,
        s3_bytes_read=0,
        s3_bytes_written=0,
    )


REPORT = Report(
    cases=[case("no-cache", seconds=90.0, cached_steps=0), case("s3-max-unchanged", seconds=3.0)],
    replacement=Replacement(
        build_seconds=20.0,
        builds_under_drain=1,
        drain_seconds=15.0,
        hook_answer="CONTINUE",
        killed_flows=0,
        steps=5,
        cached_steps=5,
    ),
    tiers=Tiers(
        denied=["s3:PutObject on x"],
        changed=[],
        foreign_keys=[],
        own_keys=["pull-requests/manifests/x"],
        admitted=["pull-requests"],
    ),
    job=JobRun(
        case=case("job-of-a-workflow"),
        connect_seconds=4.0,
        left=[],
        s3_access_keys=["ASIABUILDER"],
        denied=[],
    ),
    export_seconds={"max": 9.0},
    s3_access_keys=["ASIABUILDER"],
    builder_access_key="ASIABUILDER",
    client_decoy_key="AKIADECOY",
    denied=[],
    stored_bytes=1,
    resources={"AWS::S3::Bucket": 2},
    unchecked=[],
    differences=[],
    versions={},
)


WRONG_REPLACEMENTS: list[tuple[dict[str, Any], str]] = [
    ({"builds_under_drain": 0}, "a builder was to drain under 1 build, and did under 0"),
    ({"hook_answer": "ABANDON"}, "answered its hook with ABANDON"),
    ({"killed_flows": 2}, "the load balancer cut 2 connections"),
    ({"cached_steps": 4}, "4 of 5 steps of the build that its builder's end waited for"),
]
WRONG_TIERS: list[tuple[dict[str, Any], str]] = [
    ({"denied": []}, "was refused nothing of main's cache"),
    ({"changed": ["main/manifests/x"]}, "a pull request's build changed main/manifests/x"),
    ({"foreign_keys": ["main/blobs/x"]}, "a pull request's build reached main/blobs/x"),
    ({"own_keys": []}, "left nothing in its own scope"),
    ({"admitted": ["main", "pull-requests"]}, "was let in by the builders of ['main', 'pull-requests']"),
    ({"admitted": []}, "was let in by the builders of []"),
]
WRONG_JOBS: list[tuple[dict[str, Any], str]] = [
    ({"case": case("job-of-a-workflow", cached_steps=4)}, "a workflow's job took 4 of 5 steps from the cache"),
    ({"left": ["/home/tls.key"]}, "a workflow's job left /home/tls.key"),
    ({"s3_access_keys": ["AKIADECOY"]}, "in a workflow's job the cache bucket saw the keys ['AKIADECOY']"),
    ({"denied": ["s3:GetObject on x"]}, "in a workflow's job somebody was denied s3:GetObject on x"),
]


def test_a_run_that_keeps_the_promises_has_no_failures() -> None:
    assert list(REPORT.failures()) == []


def test_the_ratio_is_no_cache_over_unchanged_on_a_fresh_builder() -> None:
    assert REPORT.as_json()["ratio"] == 30.0


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            replace(REPORT, cases=[REPORT.cases[0], case("s3-max-unchanged", cached_steps=4)]),
            "the unchanged build took 4 of 5 steps from the cache",
        ),
        (replace(REPORT, s3_access_keys=["AKIADECOY", "ASIABUILDER"]), "saw the keys ['AKIADECOY', 'ASIABUILDER']"),
        (replace(REPORT, s3_access_keys=[]), "saw the keys []"),
        *(
            (replace(REPORT, replacement=replace(REPORT.replacement, **wrong)), words)
            for wrong, words in WRONG_REPLACEMENTS
        ),
        *((replace(REPORT, tiers=replace(REPORT.tiers, **wrong)), words) for wrong, words in WRONG_TIERS),
        *((replace(REPORT, job=replace(REPORT.job, **wrong)), words) for wrong, words in WRONG_JOBS),
        (replace(REPORT, denied=["s3:PutObject on x"]), "the builders' role was denied s3:PutObject on x"),
        (replace(REPORT, differences=["Bucket: rules"]), "the account differs from its template: Bucket: rules"),
        (replace(REPORT, unchecked=["AWS::S3::Bucket.Tags"]), "AWS::S3::Bucket.Tags was not compared"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_promise_is_a_failure_in_words(report: Report, words: str) -> None:
    (failure,) = report.failures()

    assert words in failure
