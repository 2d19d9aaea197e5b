"""CloudFormation's protocol with custom resources in the emulated account: requests, answers, changes and failures."""

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from local.emulator.aws import Aws
from local.emulator.process import Emulator
from local.emulator.read_back import ReadBack, read_back

Template = dict[str, Any]

PROVIDER = """
import json, os, urllib.request

def handler(event, context):
    with open(os.environ["REQUESTS"], "a") as file:
        file.write(json.dumps(event) + "\\n")
    asked = event["ResourceProperties"]
    if "Crash" in asked:
        raise ValueError("crashed")
    if "Silent" in asked:
        return
    answer = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    answer["Status"] = "FAILED" if event["RequestType"] in asked.get("Fail", []) else "SUCCESS"
    answer["Reason"] = f"no {event['RequestType']} today"
    answer["PhysicalResourceId"] = asked.get("Id", "one")
    answer["Data"] = {"Text": "x" * int(asked.get("Length", 3)), "Answered": event["RequestType"]}
    answer |= json.loads(asked.get("Answer", "{}"))
    headers = {"Content-Type": asked.get("ContentType", "")}
    body = json.dumps(answer).encode()
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], data=body, method="PUT", headers=headers))
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account with a bootstrap stack."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log", enforce_iam=False) as emulator:
        parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/v", "Type": "String", "Value": "30"}}
        cloudformation = Aws(emulator.endpoint_url).client("cloudformation")
        cloudformation.create_change_set(
            StackName="CDKToolkit",
            ChangeSetName="change",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps({"Resources": {"Version": parameter}}),
        )
        cloudformation.execute_change_set(StackName="CDKToolkit", ChangeSetName="change")
        yield emulator


class Stack:
    """A stack with a custom resource, and what its function was asked for."""

    _names = count()

    def __init__(self, emulator: Emulator, directory: Path) -> None:
        self.name = f"stack-{next(self._names)}"
        self.client = Aws(emulator.endpoint_url).client
        self._emulator = emulator
        self._directory = directory
        self._requests = directory / "requests"
        self._requests.touch()
        self.template: Template = {}

    def template_with(self, more: Template | None = None, **properties: object) -> Template:
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        return {
            "Resources": {
                "Role": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}},
                },
                "Provider": {
                    "Type": "AWS::Lambda::Function",
                    "Properties": {
                        "Code": {"ZipFile": PROVIDER},
                        "Environment": {"Variables": {"REQUESTS": str(self._requests)}},
                        "Handler": "index.handler",
                        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                        "Runtime": "python3.13",
                        "Timeout": 30,
                    },
                },
                "Custom": {
                    "Type": "Custom::Thing",
                    "Properties": {
                        "ServiceToken": {"Fn::GetAtt": ["Provider", "Arn"]},
                        "ServiceTimeout": 60,
                        **properties,
                    },
                },
                "Reader": {
                    "Type": "AWS::SSM::Parameter",
                    "Properties": {"Type": "String", "Value": {"Fn::GetAtt": ["Custom", "Text"]}},
                },
                **(more or {}),
            },
            "Outputs": {"Answered": {"Value": {"Fn::GetAtt": ["Custom", "Answered"]}}},
        }

    def deploy(self, template: Template) -> str:
        """Deploy, and return the stack's status."""
        kind = "UPDATE" if self.template else "CREATE"
        cloudformation = self.client("cloudformation")
        cloudformation.create_change_set(
            StackName=self.name, ChangeSetName=kind, ChangeSetType=kind, TemplateBody=json.dumps(template)
        )
        cloudformation.execute_change_set(StackName=self.name, ChangeSetName=kind)
        cloudformation.delete_change_set(StackName=self.name, ChangeSetName=kind)
        (described,) = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        self.template = template
        status: str = described["StackStatus"]
        return status

    def requests(self) -> list[dict[str, Any]]:
        """Return what the function was asked for since the last time."""
        lines = self._requests.read_text().splitlines()
        self._requests.write_text("")
        return [json.loads(line) for line in lines]

    def reasons(self) -> list[str]:
        """Return why resources failed."""
        events = self.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        return [each["ResourceStatusReason"] for each in events if each["ResourceStatus"].endswith("_FAILED")]

    def read_back(self) -> ReadBack:
        """Compare the account with the template that was deployed last."""
        (self._directory / "template.json").write_text(json.dumps(self.template))
        artifact = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "template.json"}}
        (self._directory / "manifest.json").write_text(json.dumps({"artifacts": {self.name: artifact}}))
        return read_back(self._emulator.endpoint_url, self._directory)


@pytest.fixture
def stack(emulator: Emulator, tmp_path: Path) -> Stack:
    """Return a stack that is not deployed yet."""
    return Stack(emulator, tmp_path)


def test_a_function_is_asked_to_create_in_cloudformations_words(stack: Stack) -> None:
    status = stack.deploy(stack.template_with(Number=3, Flag=True, Nested={"List": [1, "two"]}))

    (request,) = stack.requests()
    properties = request["ResourceProperties"]
    assert status == "CREATE_COMPLETE"
    assert (request["RequestType"], request["ResourceType"]) == ("Create", "Custom::Thing")
    assert request["LogicalResourceId"] == "Custom"
    assert f":stack/{stack.name}/" in request["StackId"]
    assert "PhysicalResourceId" not in request
    assert properties.pop("ServiceToken").startswith("arn:aws:lambda:")
    assert properties == {"ServiceTimeout": "60", "Number": "3", "Flag": "true", "Nested": {"List": ["1", "two"]}}


def test_others_read_what_the_function_answered_and_all_of_it_reads_back(stack: Stack) -> None:
    stack.deploy(stack.template_with(Length=5))

    result = stack.read_back()

    parameter = stack.client("ssm").get_parameters_by_path(Path="/", Recursive=True)["Parameters"]
    assert "xxxxx" in [each["Value"] for each in parameter]
    assert result.is_clean, (result.differences, result.unchecked)
    assert result.compared["AWS::CloudFormation::CustomResource"] == 1


def test_read_back_notices_a_custom_resource_that_was_asked_for_something_else(stack: Stack) -> None:
    stack.deploy(stack.template_with(Length=5))

    stack.template["Resources"]["Custom"]["Properties"]["Length"] = 6

    assert [each.path for each in stack.read_back().differences] == ["Length"]


def test_a_change_is_an_update_with_the_former_properties(stack: Stack) -> None:
    stack.deploy(stack.template_with(Length=3))
    stack.requests()

    status = stack.deploy(stack.template_with(Length=4))

    (request,) = stack.requests()
    assert status == "UPDATE_COMPLETE"
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Update", "one")
    assert request["OldResourceProperties"]["Length"] == "3"
    assert request["ResourceProperties"]["Length"] == "4"
    assert stack.read_back().is_clean


def test_nothing_is_asked_when_nothing_of_it_has_changed(stack: Stack) -> None:
    stack.deploy(stack.template_with())
    stack.requests()

    stack.deploy(stack.template_with({"Added": {"Type": "AWS::S3::Bucket"}}))

    assert stack.requests() == []


def test_a_function_is_changed_before_it_is_asked(stack: Stack) -> None:
    stack.deploy(stack.template_with())
    changed = stack.template_with(Length=4)
    changed["Resources"]["Provider"]["Properties"]["Code"]["ZipFile"] = PROVIDER.replace('"one"', '"two"')

    stack.deploy(changed)

    resources = stack.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    assert "two" in [each["PhysicalResourceId"] for each in resources]


def test_another_physical_id_deletes_the_former_resource_at_the_end(stack: Stack) -> None:
    stack.deploy(stack.template_with(Id="one", Length=1))
    stack.requests()

    stack.deploy(stack.template_with(Id="two", Length=2))

    update, delete = stack.requests()
    assert (update["RequestType"], update["PhysicalResourceId"]) == ("Update", "one")
    assert (delete["RequestType"], delete["PhysicalResourceId"]) == ("Delete", "one")
    assert delete["ResourceProperties"]["Length"] == "1"


def test_a_former_resource_that_is_retained_is_not_deleted(stack: Stack) -> None:
    one, two = (stack.template_with(Id=each) for each in ("one", "two"))
    for template in (one, two):
        template["Resources"]["Custom"]["UpdateReplacePolicy"] = "Retain"
    stack.deploy(one)
    stack.requests()

    stack.deploy(two)

    assert [each["RequestType"] for each in stack.requests()] == ["Update"]


def test_what_is_declared_no_more_is_deleted_after_the_rest(stack: Stack) -> None:
    stack.deploy(stack.template_with())
    stack.requests()
    without = stack.template_with()
    del without["Resources"]["Custom"], without["Resources"]["Reader"], without["Outputs"]

    status = stack.deploy(without)

    assert status == "UPDATE_COMPLETE"
    assert [each["RequestType"] for each in stack.requests()] == ["Delete"]


def test_deleting_the_stack_asks_for_it_while_the_function_is_there(stack: Stack) -> None:
    stack.deploy(stack.template_with())
    stack.requests()

    stack.client("cloudformation").delete_stack(StackName=stack.name)

    (request,) = stack.requests()
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Delete", "one")


def test_a_failure_fails_the_stack_with_the_functions_words(stack: Stack) -> None:
    status = stack.deploy(stack.template_with(Fail=["Create"]))

    assert status == "CREATE_FAILED"
    assert any("Custom (Custom::Thing)" in each and "no Create today" in each for each in stack.reasons())


def test_a_failed_update_is_rolled_back_with_another_update(stack: Stack) -> None:
    stack.deploy(stack.template_with(Length=3))
    stack.requests()

    status = stack.deploy(stack.template_with({"Added": {"Type": "AWS::S3::Bucket"}}, Length=4, Fail=["Update"]))

    there, back = stack.requests()
    names = stack.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert any("no Update today" in each for each in stack.reasons())
    assert (there["ResourceProperties"]["Length"], back["ResourceProperties"]["Length"]) == ("4", "3")
    assert back["OldResourceProperties"]["Length"] == "4"
    assert "Added" not in [each["LogicalResourceId"] for each in names]


def test_a_stack_that_was_rolled_back_can_be_updated_again(stack: Stack) -> None:
    stack.deploy(stack.template_with(Length=3))
    stack.deploy(stack.template_with(Length=4, Fail=["Update"]))

    status = stack.deploy(stack.template_with(Length=5))

    assert status == "UPDATE_COMPLETE"
    assert stack.read_back().is_clean


def test_a_function_that_does_not_answer_is_waited_for_as_long_as_declared(stack: Stack) -> None:
    begin = time.monotonic()

    status = stack.deploy(stack.template_with(Silent=True, ServiceTimeout=4))

    assert status == "CREATE_FAILED"
    assert 4 <= time.monotonic() - begin < 20
    assert any("did not receive a response from your Custom Resource" in each for each in stack.reasons())


def test_a_function_that_crashes_is_tried_again(stack: Stack) -> None:
    stack.deploy(stack.template_with(Crash=True, ServiceTimeout=8))

    assert len(stack.requests()) == 3


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"Length": 5000}, "Response object is too long."),
        ({"Answer": '{"StackId": "another"}'}, "Invalid response object: StackId"),
        ({"Answer": '{"RequestId": "another"}'}, "Invalid response object: RequestId"),
        ({"Answer": '{"Status": "DONE"}'}, "Status must be SUCCESS or FAILED"),
        ({"Answer": '{"PhysicalResourceId": ""}'}, "Invalid PhysicalResourceId"),
        ({"ContentType": "application/json", "ServiceTimeout": 6}, "did not receive a response"),
    ],
)
def test_an_answer_that_cloudformation_does_not_accept_fails_the_stack(
    stack: Stack, properties: Template, words: str
) -> None:
    status = stack.deploy(stack.template_with(**properties))

    assert status == "CREATE_FAILED"
    assert any(words in each for each in stack.reasons())


def test_an_attribute_that_was_not_answered_fails_who_reads_it(stack: Stack) -> None:
    template = stack.template_with(Answer='{"Data": {"Answered": "x"}}')

    assert stack.deploy(template) == "CREATE_FAILED"


def test_another_function_cannot_take_a_custom_resource_over(stack: Stack) -> None:
    stack.deploy(stack.template_with())
    moved = stack.template_with()
    moved["Resources"]["Other"] = moved["Resources"]["Provider"]
    moved["Resources"]["Custom"]["Properties"]["ServiceToken"] = {"Fn::GetAtt": ["Other", "Arn"]}

    status = stack.deploy(moved)

    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert any("Modifying service token is not allowed." in each for each in stack.reasons())
