"""What a builder makes of buildkitd's counters and records; the texts are those of a real v0.31.2."""

import json

import pytest

from cdk_buildkit.host.build_records import has_cache_error, parse_records
from cdk_buildkit.host.buildkit_metrics import Counters, growth, parse

SCOPE = 'otel_scope_name="github.com/moby/buildkit/solver/llbsolver",otel_scope_schema_url="",otel_scope_version=""'
PAGE = f"""\
# HELP buildkit_builds_steps_total Total number of build steps.
# TYPE buildkit_builds_steps_total counter
buildkit_builds_steps_total{{kind="cached",{SCOPE}}} 2
buildkit_builds_steps_total{{kind="completed",{SCOPE}}} 22
buildkit_builds_steps_total{{kind="total",{SCOPE}}} 22
buildkit_builds_steps_total{{kind="warnings",{SCOPE}}} 0
buildkit_builds_total{{{SCOPE},status="success"}} 2
buildkit_builds_total{{error_code="Unknown",{SCOPE},status="failure"}} 1
buildkit_builds_total{{error_code="Canceled",{SCOPE},status="failure"}} 4
buildkit_build_duration_seconds_bucket{{{SCOPE},status="success",le="+Inf"}} 2
process_start_time_seconds 1.79557439e+09
go_gc_duration_seconds{{quantile="0"}} 2.1e-05
"""
STARTED = 1.79557439e09
NOW = Counters(STARTED, builds=7, failed_builds=1, steps=22, cached_steps=2)

RECORD = {
    "type": 1,
    "record": {
        "Ref": "pc1llnbv67d7vq9w1xrqsgfc6",
        "CreatedAt": {"seconds": 1795575109, "nanos": 235542282},
        "CompletedAt": {"seconds": 1795575110, "nanos": 5831319},
    },
}
DENIED = "operation error S3: HeadObject, https response error StatusCode: 403, api error Forbidden: Forbidden"


def progress(name: str, error: str) -> list[str]:
    return [
        '{"vertexes":[{"digest":"sha256:1","name":"[1/2] FROM busybox"}]}',
        json.dumps({"vertexes": [{"name": name, "error": error}]}),
    ]


def test_counters_are_read_from_the_page() -> None:
    assert parse(PAGE) == NOW


def test_a_build_that_the_client_took_back_is_no_failure() -> None:
    assert parse(PAGE).builds - parse(PAGE).failed_builds == 6


def test_a_page_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="process_start_time_seconds"):
        parse("<html></html>")


def test_what_has_grown_since_the_last_look_is_published() -> None:
    before = NOW._replace(builds=5, steps=10, cached_steps=2)

    assert growth(before, NOW, watched_since=0) == {"Builds": 2, "Steps": 12, "CachedSteps": 0}


def test_what_has_not_grown_is_not_published() -> None:
    assert growth(NOW, NOW, watched_since=0) == {}


def test_a_daemon_that_was_started_again_counts_from_zero() -> None:
    later = Counters(STARTED + 60, builds=1, failed_builds=0, steps=4, cached_steps=3)

    assert growth(NOW, later, watched_since=0) == {"Builds": 1, "Steps": 4, "CachedSteps": 3}


def test_what_a_daemon_counted_before_anybody_looked_is_not_new() -> None:
    assert growth(None, NOW, watched_since=STARTED + 1) == {}


def test_all_that_a_daemon_counted_is_new_when_it_came_later_than_who_looks() -> None:
    assert growth(None, NOW, watched_since=STARTED - 1)["Builds"] == 7


def test_a_record_says_how_long_the_build_took() -> None:
    running = {"type": 0, "record": {"Ref": "running", "CreatedAt": {"seconds": 1}}}

    (record,) = parse_records([json.dumps(RECORD), "", json.dumps(running)])

    assert record.ref == "pc1llnbv67d7vq9w1xrqsgfc6"
    assert record.seconds == pytest.approx(0.770, abs=0.001)
    assert record.ended == pytest.approx(1795575110.006, abs=0.001)


@pytest.mark.parametrize("line", ["TYPE REF CREATED", "[]", '{"type": 1, "record": {}}'])
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"record|Expecting"):
        parse_records([line])


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("exporting cache to Amazon S3", f"failed to check file presence in cache: {DENIED}"),
        ("importing cache manifest from s3:14826427689605361727", DENIED),
        ("importing cache manifest from s3:14826427689605361727", "context deadline exceeded"),
        (
            "[2/2] COPY . .",
            "failed to copy: operation error S3: GetObject, NoSuchKey: The specified key does not exist.",
        ),
    ],
)
def test_a_step_that_the_cache_failed_is_a_cache_error(name: str, error: str) -> None:
    assert has_cache_error(progress(name, error))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("[2/2] RUN false", 'process "/bin/sh -c false" did not complete successfully: exit code: 1'),
        ("exporting cache to Amazon S3", ""),
        ("[2/2] RUN cat error", ""),
    ],
)
def test_a_step_that_fails_by_itself_is_none(name: str, error: str) -> None:
    assert not has_cache_error(progress(name, error))


def test_lines_that_are_no_progress_are_passed_over() -> None:
    assert not has_cache_error(['time="" level=warning msg="error"', '"error"', '{"error": "x"}', '["error"]'])
