"""What an operator sees of a fleet of pods: what its agents publish, and no metric that it has not."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

FLEET = "main.buildkit.buildkit.internal"


@pytest.fixture(scope="module")
def template(synthesize: Callable[[Path], dict[str, Template]], root: Path) -> Template:
    return synthesize(root / "examples/eks.toml")["buildkit-builders-main"]


@pytest.fixture(scope="module")
def alarms(template: Template) -> Mapping[str, Mapping[str, Any]]:
    """The alarms by their ids, without hash and the path before it."""
    found = template.find_resources("AWS::CloudWatch::Alarm")
    return {name.removeprefix("ObservabilityAlarms")[:-8]: each["Properties"] for name, each in found.items()}


def metrics_of(alarm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "MetricName" in alarm:
        return [alarm]
    return [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]


def test_a_fleet_of_pods_has_these_alarms(alarms: Mapping[str, Any]) -> None:
    of_architectures = ("AtMaximum", "BuilderUnhealthy", "BuildsLost", "CacheErrors", "DrainTimedOut", "StoreFull")

    assert set(alarms) == {
        *(f"{architecture}{name}" for architecture in ("Arm64", "X8664") for name in of_architectures),
        "ClientCertificateLate",
        "IssuerFailsAlarm",
        "ServerCertificateLate",
        "WakerFails",
    }


def test_they_watch_what_the_agents_and_the_issuer_publish(alarms: Mapping[str, Any]) -> None:
    watched = {
        (metric["Namespace"], metric["MetricName"])
        for alarm in alarms.values()
        for metric in metrics_of(alarm)
        if metric["Namespace"] != "AWS/Lambda"
    }

    assert watched == {
        ("CdkBuildkit", name)
        for name in (
            "BuildsLost",
            "CacheErrors",
            "CertificateDaysLeft",
            "DrainTimeouts",
            "FailedRequests",
            "InFlightBuilds",
            "StoreUsedPercent",
            "Unanswered",
        )
    }
    for alarm in alarms.values():
        for metric in metrics_of(alarm):
            fleets = [each["Value"] for each in metric["Dimensions"] if each["Name"] == "Fleet"]
            is_of_a_function = any(each["Name"].startswith("Function") for each in metric["Dimensions"])
            assert fleets == ([] if is_of_a_function else [FLEET])


def test_a_fleet_is_at_its_maximum_by_the_builders_that_publish(alarms: Mapping[str, Any]) -> None:
    queries = {each["Id"]: each for each in alarms["Arm64AtMaximum"]["Metrics"]}

    expressions = {each["Expression"] for each in queries.values() if "Expression" in each}
    assert expressions == {"IF(live >= 8 AND in_flight > 3, 1, 0)", "samples / 6"}
    assert queries["samples"]["MetricStat"]["Stat"] == "SampleCount"


def test_an_alarm_says_what_to_do_with_a_pod(alarms: Mapping[str, Any]) -> None:
    assert "delete that pod: another comes" in alarms["Arm64BuilderUnhealthy"]["AlarmDescription"]
    assert not any("instance" in each["AlarmDescription"] for each in alarms.values())


def test_the_dashboard_has_no_group_and_no_log_of_instances(template: Template, readable: Callable[[Any], Any]) -> None:
    (dashboard,) = template.find_resources("AWS::CloudWatch::Dashboard").values()

    body = json.loads(readable(dashboard["Properties"]["DashboardBody"]))
    text = json.dumps(body)
    assert "AWS/AutoScaling" not in text
    assert "SOURCE" not in text
    titles = [each["properties"].get("title") for each in body["widgets"] if each["type"] == "metric"]
    assert titles[:2] == ["Builders, arm64", "Builders, x86_64"]
