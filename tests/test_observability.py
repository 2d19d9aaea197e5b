"""Dashboard and alarms: what they watch is published, they tell what to do, and they let a sleeping fleet sleep."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from app import define_stacks
from cdk_buildkit import Architecture
from cdk_buildkit.host.log_events import event_of
from local.dashboard_picture import dashboard_body
from local.emulator.metric_filters import metric_datum
from stacks.config import load_config
from tests.deployed_alarms import Alarm, sounds

FLEET = "main.buildkit.buildkit.internal"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:on-call"
Series = Mapping[str, float | None]
"""The value of each metric in one period, by its name; None: no data."""

ASLEEP: Series = {
    "GroupDesiredCapacity": 0,
    "GroupInServiceInstances": 0,
    "GroupMaxSize": 8,
    "HealthyHostCount": 0,
    "CertificateDaysLeft": 60,
}
AWAKE: Series = {
    **ASLEEP,
    "GroupDesiredCapacity": 2,
    "GroupInServiceInstances": 2,
    "HealthyHostCount": 2,
    "InFlightBuilds": 1.5,
    "StoreUsedPercent": 70,
}
SITUATIONS: Mapping[str, tuple[Series, set[str]]] = {
    "a fleet that is asleep": (ASLEEP, set()),
    "a fleet at work": (AWAKE, set()),
    "one that launches": ({**AWAKE, "GroupDesiredCapacity": 3}, {"CannotLaunch"}),
    "one that launches its first": ({**ASLEEP, "GroupDesiredCapacity": 1}, {"CannotLaunch"}),
    "full, and more may come": ({**AWAKE, "InFlightBuilds": 4, "HealthyHostCount": 0}, set()),
    "full at its maximum": (
        {**AWAKE, "GroupMaxSize": 2, "InFlightBuilds": 4, "HealthyHostCount": 0},
        {"AtMaximum"},
    ),
    "at its maximum with more than its target": ({**AWAKE, "GroupMaxSize": 2, "InFlightBuilds": 3.4}, {"AtMaximum"}),
    "shut for the night": ({**ASLEEP, "GroupMaxSize": 0}, set()),
    "at its maximum with room": ({**AWAKE, "GroupMaxSize": 2}, set()),
    "reached by nobody": ({**AWAKE, "HealthyHostCount": 0}, {"NoBuilderAnswers"}),
    "reached by nobody, whose agents are dead": (
        {**AWAKE, "HealthyHostCount": 0, "InFlightBuilds": None},
        {"NoBuilderAnswers"},
    ),
    "one draining beside one that serves": ({**AWAKE, "GroupInServiceInstances": 1, "GroupDesiredCapacity": 1}, set()),
    "a daemon that hangs": ({**AWAKE, "Unanswered": 20}, {"BuilderUnhealthy"}),
    "a daemon that was started again": ({**AWAKE, "Unanswered": 1}, set()),
    "a full store": ({**AWAKE, "StoreUsedPercent": 91}, {"StoreFull"}),
    "a store at its ceiling": ({**AWAKE, "StoreUsedPercent": 90}, set()),
    "a lost build": ({**AWAKE, "BuildsLost": 1}, {"BuildsLost"}),
    "a drain that timed out": ({**AWAKE, "DrainTimeouts": 1}, {"DrainTimedOut"}),
    "a boot that failed once": ({**AWAKE, "BootFailures": 1}, set()),
    "boots that fail": ({**ASLEEP, "BootFailures": 2}, {"BootsFail"}),
    "a cache that is shut": ({**AWAKE, "CacheErrors": 3}, {"CacheErrors"}),
    "a certificate that is late": (
        {**ASLEEP, "CertificateDaysLeft": 8},
        {"ServerCertificateLate", "ClientCertificateLate"},
    ),
    "an issuer that does not run": (
        {**ASLEEP, "CertificateDaysLeft": None},
        {"ServerCertificateLate", "ClientCertificateLate"},
    ),
    "functions that fail": ({**ASLEEP, "Errors": 1}, {"IssuerFails", "WakerFails"}),
    "an issuer that fails a deployment": ({**ASLEEP, "FailedRequests": 1}, {"IssuerFails"}),
}


@pytest.fixture(scope="module")
def template(default_templates: Mapping[str, Template]) -> Template:
    return default_templates["buildkit-builders-main"]


@pytest.fixture(scope="module")
def alarms(template: Template) -> Mapping[str, Alarm]:
    """The alarms of x86_64 and of the fleet, by their construct's id."""
    found = {}
    for name, resource in template.find_resources("AWS::CloudWatch::Alarm").items():
        short = re.sub("[0-9A-F]{8}$", "", name).removeprefix("ObservabilityAlarms").removesuffix("Alarm")
        if not short.startswith(Architecture.ARM64.construct_id):
            found[short.removeprefix(Architecture.X86_64.construct_id)] = resource["Properties"]
    return found


def in_situation(alarm: Alarm, series: Series) -> bool:
    """Whether an alarm goes off when a situation lasts."""
    if "MetricName" in alarm:
        return sounds(alarm, {"": series.get(alarm["MetricName"])})
    values = {
        each["Id"]: series.get(each["MetricStat"]["Metric"]["MetricName"])
        for each in alarm["Metrics"]
        if "MetricStat" in each
    }
    return sounds(alarm, values)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_alarms_of_a_situation_are_these_and_no_other(alarms: Mapping[str, Alarm], situation: str) -> None:
    series, expected = SITUATIONS[situation]

    assert {name for name, alarm in alarms.items() if in_situation(alarm, series)} == expected


def test_every_alarm_is_tried(alarms: Mapping[str, Alarm]) -> None:
    assert set(alarms) == set().union(*(expected for _, expected in SITUATIONS.values()))


def test_every_alarm_says_what_to_do_and_where_the_runbook_has_it(
    default_templates: Mapping[str, Template], root: Path
) -> None:
    runbook = (root / "docs/runbooks/alarms.md").read_text()
    headings = {
        line.removeprefix("## ").lower().replace(" ", "-") for line in runbook.splitlines() if line.startswith("## ")
    }
    alarms = [
        alarm
        for stack in default_templates.values()
        for alarm in stack.find_resources("AWS::CloudWatch::Alarm").values()
    ]

    linked = set()
    for alarm in alarms:
        words, _, link = alarm["Properties"]["AlarmDescription"].partition(" See docs/runbooks/alarms.md#")
        assert len(words.split()) > 12
        linked.add(link)
    assert linked == headings


def test_the_documentation_has_the_alarms_and_what_they_cost(template: Template, root: Path) -> None:
    alarms = [each["Properties"] for each in template.find_resources("AWS::CloudWatch::Alarm").values()]
    watched = sum(sum("MetricStat" in each for each in alarm.get("Metrics", [{"MetricStat": {}}])) for alarm in alarms)

    words = (root / "docs/observability.md").read_text()
    row = f"| alarms: {len(alarms)}, which watch {watched} metrics | $0.10 for each metric watched |"
    assert f"{row} ${watched / 10:.2f} | ${watched / 10:.2f} |" in words
    assert f"alarms on {watched} metrics" in (root / "README.md").read_text()


@pytest.mark.parametrize("stack", ["buildkit-builders-main", "buildkit-builders-pull-requests", "buildkit-release"])
def test_every_alarm_tells_the_topic_of_its_beginning_and_its_end(
    default_templates: Mapping[str, Template], stack: str
) -> None:
    alarms = default_templates[stack].find_resources("AWS::CloudWatch::Alarm")

    assert alarms
    for alarm in alarms.values():
        (action,), (end,) = alarm["Properties"]["AlarmActions"], alarm["Properties"]["OKActions"]
        assert "AlarmTopic" in action["Fn::ImportValue"]
        assert action == end


def test_a_given_topic_takes_the_place_of_the_new_one(
    synthesize: Callable[[Path], dict[str, Template]], tmp_path: Path
) -> None:
    path = tmp_path / "given.toml"
    path.write_text(f'[observability]\nalarm_topic_arn = "{TOPIC}"\nlog_retention_days = 90\n[builders.main]\n')

    templates = synthesize(path)

    assert "buildkit-observability" not in templates
    fleet = templates["buildkit-builders-main"]
    for stack in (fleet, templates["buildkit-release"]):
        alarms = stack.find_resources("AWS::CloudWatch::Alarm").values()
        assert {str(each["Properties"]["AlarmActions"]) for each in alarms} == {f"['{TOPIC}']"}
    fleet.has_resource_properties("AWS::Logs::LogGroup", {"RetentionInDays": 90})


def test_the_new_topic_is_encrypted_and_takes_messages_from_cloudwatch_alone(
    default_templates: Mapping[str, Template],
) -> None:
    template = default_templates["buildkit-observability"]
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    cloudwatch = {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Condition": account}

    (policy,) = template.find_resources("AWS::SNS::TopicPolicy").values()

    allowed = [each for each in policy["Properties"]["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert [{key: each[key] for key in cloudwatch} for each in allowed] == [cloudwatch]
    template.has_resource_properties("AWS::SNS::Topic", {"KmsMasterKeyId": Match.any_value()})
    statement = {**cloudwatch, "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"}
    template.has_resource_properties(
        "AWS::KMS::Key",
        {"EnableKeyRotation": True, "KeyPolicy": {"Statement": Match.array_with([statement])}},
    )


def test_the_groups_metrics_that_the_alarms_compare_are_on(template: Template) -> None:
    groups = [
        each["Properties"]
        for name, each in template.find_resources("AWS::AutoScaling::AutoScalingGroup").items()
        if "BootProof" not in name
    ]

    assert len(groups) == 2
    for group in groups:
        (collection,) = group["MetricsCollection"]
        assert set(collection["Metrics"]) == {"GroupDesiredCapacity", "GroupInServiceInstances", "GroupMaxSize"}


def metrics_of(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """The names of our own metrics that a definition uses."""
    match value:
        case ["CdkBuildkit", str(name), *_]:
            yield name
        case {"Namespace": "CdkBuildkit", "MetricName": str(name)}:
            yield name
        case dict():
            for each in value.values():
                yield from metrics_of(each)
        case list():
            for each in value:
                yield from metrics_of(each)


def test_whatever_is_shown_or_watched_is_published(template: Template, root: Path) -> None:
    used = set(metrics_of(dashboard_body(template.to_json())["widgets"]))
    used |= set(metrics_of([each["Properties"] for each in template.find_resources("AWS::CloudWatch::Alarm").values()]))
    filters = template.find_resources("AWS::Logs::MetricFilter").values()
    made = {each["Properties"]["MetricTransformations"][0]["MetricName"] for each in filters}

    host = "".join(path.read_text() for path in (root / "constructs/cdk_buildkit/host").glob("*.py"))
    assert {name for name in used - made if f'"{name}"' not in host} == set()
    assert made <= used


def test_widgets_stay_on_the_page_and_do_not_cover_each_other(template: Template) -> None:
    widgets = dashboard_body(template.to_json())["widgets"]

    def squares(widget: Mapping[str, int]) -> set[tuple[int, int]]:
        return {(widget["x"] + x, widget["y"] + y) for x in range(widget["width"]) for y in range(widget["height"])}

    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)
    assert all(not squares(one) & squares(other) for one, other in combinations(widgets, 2))


def test_the_filters_make_metrics_of_what_host_and_functions_print(template: Template) -> None:
    labels = {"fleet": FLEET, "architecture": "arm64"}
    lines = {
        "BuildsLost": ('{"event": "builds_lost", "cause": "spot", "builds": 3}', 3),
        "DrainTimeouts": ('{"event": "drain_timed_out", "builds": 0}', 1),
        "BootFailures": ('{"event": "boot_failed", "code": 1, "seconds": 9}', 1),
        "CertificateDaysLeft": (
            json.dumps({"event": "certificate", "fleet": FLEET, "certificate": "server", "days_left": 88.5}),
            88.5,
        ),
        "FailedRequests": (json.dumps({"event": "request_failed", "function": "issuer", "reason": "x"}), 1),
    }
    for resource in template.find_resources("AWS::Logs::MetricFilter").values():
        properties = resource["Properties"]
        (transformation,) = properties["MetricTransformations"]
        line, value = lines[transformation["MetricName"]]
        event = event_of(line, unit="builder-drain", milliseconds=1, labels=labels)
        assert event is not None
        message = event.message if "FleetLogs" in str(properties["LogGroupName"]) else line

        datum = metric_datum(
            properties["FilterPattern"],
            {
                "metricName": transformation["MetricName"],
                "metricValue": transformation["MetricValue"],
                "dimensions": {each["Key"]: each["Value"] for each in transformation["Dimensions"]},
            },
            message,
            1,
        )

        assert datum is not None
        assert datum["Value"] == value
        assert {each["Value"] for each in datum["Dimensions"]} <= {FLEET, "arm64", "server", "issuer"}


def test_a_fleet_of_one_architecture_has_a_page_too(make_app: Callable[[], cdk.App], root: Path) -> None:
    app = make_app()
    define_stacks(app, load_config(root / "examples/one-architecture.toml"))

    template = Template.from_json(app.synth().get_stack_by_name("buildkit-builders-main").template)

    assert all(each["x"] + each["width"] <= 24 for each in dashboard_body(template.to_json())["widgets"])
