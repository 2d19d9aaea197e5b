"""The emulated account's CloudWatch, SNS and KMS: what stacks declare is there, and metric filters work."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.emulator.aws import Aws
from local.emulator.metric_filters import metric_datum
from local.emulator.process import Emulator
from local.emulator.read_back import ReadBack, read_back

CLOUDWATCH = {"Service": "cloudwatch.amazonaws.com"}
TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Key": {
            "Type": "AWS::KMS::Key",
            "Properties": {
                "Description": "Alarms",
                "EnableKeyRotation": True,
                "PendingWindowInDays": 7,
                "KeyPolicy": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Principal": CLOUDWATCH, "Action": "kms:Decrypt", "Resource": "*"}
                    ],
                },
            },
        },
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"DisplayName": "Alarms", "KmsMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
        },
        "TopicPolicy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {
                "Topics": [{"Ref": "Topic"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": CLOUDWATCH,
                            "Action": "sns:Publish",
                            "Resource": {"Ref": "Topic"},
                        }
                    ],
                },
            },
        },
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
        "Filter": {
            "Type": "AWS::Logs::MetricFilter",
            "Properties": {
                "LogGroupName": {"Ref": "Log"},
                "FilterPattern": '{ $.event = "lost" }',
                "MetricTransformations": [
                    {
                        "MetricNamespace": "Example",
                        "MetricName": "Lost",
                        "MetricValue": "$.builds",
                        "Dimensions": [{"Key": "Fleet", "Value": "$.fleet"}],
                    }
                ],
            },
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmActions": [{"Ref": "Topic"}],
                "AlarmDescription": "Something is lost",
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "EvaluationPeriods": 3,
                "DatapointsToAlarm": 2,
                "Threshold": 1,
                "TreatMissingData": "notBreaching",
                "Metrics": [
                    {"Id": "sum", "Expression": "FILL(lost, 0)", "Label": "Lost", "ReturnData": True},
                    {
                        "Id": "lost",
                        "ReturnData": False,
                        "MetricStat": {
                            "Metric": {
                                "Namespace": "Example",
                                "MetricName": "Lost",
                                "Dimensions": [{"Name": "Fleet", "Value": "main"}],
                            },
                            "Period": 60,
                            "Stat": "Sum",
                        },
                    },
                ],
            },
        },
        "Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardBody": {"Fn::Sub": '{"widgets":[{"type":"alarm","properties":{"alarms":["${Alarm.Arn}"]}}]}'}
            },
        },
    }
}
TOOLKIT = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


class Account:
    """An emulated account with the example's stack."""

    def __init__(self, emulator: Emulator) -> None:
        self._endpoint_url = emulator.endpoint_url
        self.client = Aws(emulator.endpoint_url).client
        self.deploy("CDKToolkit", TOOLKIT)
        self.ids = self.deploy("example", TEMPLATE)

    def deploy(self, stack: str, template: dict[str, Any]) -> dict[str, str]:
        """Deploy a stack and return the physical ids of its resources."""
        cloudformation = self.client("cloudformation")
        change_set = cloudformation.create_change_set(
            StackName=stack, ChangeSetName="create", ChangeSetType="CREATE", TemplateBody=json.dumps(template)
        )["Id"]
        cloudformation.execute_change_set(ChangeSetName=change_set)
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources}

    def read_back(self, directory: Path) -> ReadBack:
        """Compare the account with the example's template."""
        (directory / "example.template.json").write_text(json.dumps(TEMPLATE))
        artifact = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "example.template.json"}}
        (directory / "manifest.json").write_text(json.dumps({"artifacts": {"example": artifact}}))
        return read_back(self._endpoint_url, directory)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with Emulator(tmp_path / "log") as emulator:
        yield Account(emulator)


def test_all_of_it_reads_back_as_declared(account: Account, tmp_path: Path) -> None:
    result = account.read_back(tmp_path)

    assert result.is_clean, (result.differences, result.unchecked)
    assert sum(result.compared.values()) == len(TEMPLATE["Resources"]) + 1


def test_a_change_behind_its_back_is_noticed(account: Account, tmp_path: Path) -> None:
    ids, cloudwatch = account.ids, account.client("cloudwatch")
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[ids["Alarm"]])["MetricAlarms"]
    kept = (
        "AlarmActions",
        "AlarmDescription",
        "ComparisonOperator",
        "EvaluationPeriods",
        "DatapointsToAlarm",
        "Metrics",
    )
    cloudwatch.put_metric_alarm(
        AlarmName=ids["Alarm"], Threshold=100, TreatMissingData="breaching", **{name: alarm[name] for name in kept}
    )
    cloudwatch.put_dashboard(DashboardName=ids["Dashboard"], DashboardBody='{"widgets":[]}')
    account.client("kms").disable_key_rotation(KeyId=ids["Key"])
    account.client("sns").set_topic_attributes(
        TopicArn=ids["Topic"], AttributeName="Policy", AttributeValue='{"Version": "2012-10-17", "Statement": []}'
    )

    found = {(each.logical_id, each.path) for each in account.read_back(tmp_path).differences}

    assert found >= {
        ("Alarm", "Threshold"),
        ("Alarm", "TreatMissingData"),
        ("Dashboard", "DashboardBody"),
        ("Key", "EnableKeyRotation"),
        ("TopicPolicy", "PolicyDocument"),
    }


def test_a_filter_makes_metrics_of_what_is_logged(account: Account) -> None:
    logs, group = account.client("logs"), account.ids["Log"]
    logs.create_log_stream(logGroupName=group, logStreamName="i-1")
    said = ({"event": "lost", "builds": 2, "fleet": "main"}, {"event": "found", "builds": 9, "fleet": "main"})
    now = int(time.time() * 1000)

    logs.put_log_events(
        logGroupName=group,
        logStreamName="i-1",
        logEvents=[{"timestamp": now, "message": text} for text in (*map(json.dumps, said), "lost", "{")],
    )

    (point,) = account.client("cloudwatch").get_metric_statistics(
        Namespace="Example",
        MetricName="Lost",
        Dimensions=[{"Name": "Fleet", "Value": "main"}],
        StartTime=datetime.now(UTC) - timedelta(minutes=5),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert point["Sum"] == 2


@pytest.mark.parametrize(
    "message", ['{"event": "lost", "builds": 2}', '{"event": "lost", "fleet": "main"}', "[]", "lost"]
)
def test_an_event_without_the_value_or_a_dimension_makes_no_datum(message: str) -> None:
    transformation = {"metricName": "Lost", "metricValue": "$.builds", "dimensions": {"Fleet": "$.fleet"}}

    assert metric_datum('{ $.event = "lost" }', transformation, message, 1) is None


def test_a_pattern_that_is_not_evaluated_fails_the_stack(account: Account) -> None:
    properties = {**TEMPLATE["Resources"]["Filter"]["Properties"], "FilterPattern": "ERROR", "LogGroupName": "x"}

    account.deploy("other", {"Resources": {"Filter": {"Type": "AWS::Logs::MetricFilter", "Properties": properties}}})

    events = account.client("cloudformation").describe_stack_events(StackName="other")["StackEvents"]
    assert any(
        "the filter pattern ERROR is not evaluated here" in each.get("ResourceStatusReason", "") for each in events
    )


def test_deleting_the_stack_deletes_them(account: Account) -> None:
    account.client("cloudformation").delete_stack(StackName="example")

    cloudwatch = account.client("cloudwatch")
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []
    assert account.client("logs").describe_metric_filters()["metricFilters"] == []
    assert account.ids["Topic"] not in {each["TopicArn"] for each in account.client("sns").list_topics()["Topics"]}
    assert account.client("kms").describe_key(KeyId=account.ids["Key"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
