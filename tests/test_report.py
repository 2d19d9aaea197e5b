"""What makes a run of `make local` a failure, and what its report says."""

from dataclasses import replace

import pytest

from local.report import Case, Report


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
        (replace(REPORT, denied=["s3:PutObject on x"]), "the builders' role was denied s3:PutObject on x"),
        (replace(REPORT, differences=["Bucket: rules"]), "the account differs from its template: Bucket: rules"),
        (replace(REPORT, unchecked=["AWS::S3::Bucket.Tags"]), "AWS::S3::Bucket.Tags was not compared"),
    ],
    ids=["not cached", "the decoy's key", "no key", "a denial", "a difference", "an unchecked property"],
)
def test_a_broken_promise_is_a_failure_in_words(report: Report, words: str) -> None:
    (failure,) = report.failures()

    assert words in failure
