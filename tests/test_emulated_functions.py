"""Functions of the emulated account really run: their code, their role, their time, and how they are invoked."""

import io
import json
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cdk_buildkit.handler_function import stage_handler
from local.emulator.aws import REGION, Aws
from local.emulator.process import Emulator, EmulatorError
from local.emulator.request_log import Denial, Failure

Template = dict[str, Any]

ROLE_ARN = {"Fn::GetAtt": ["Role", "Arn"]}
RETURNS_EVENT = "def handler(event, context): return event"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Return an account in which policies count for functions alone, as during a deployment."""
    with Emulator(tmp_path_factory.mktemp("emulator") / "log", enforce_iam=False) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Callable[[str], Any]:
    """Return the operator's clients."""
    return Aws(emulator.endpoint_url).client


def trusting(service: str) -> Template:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": document}}


def allowing(role: str, action: str, resource: object) -> Template:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    return {
        "Type": "AWS::IAM::Policy",
        "Properties": {"PolicyName": f"{role}-own", "Roles": [{"Ref": role}], "PolicyDocument": document},
    }


def function(source: str, **properties: object) -> Template:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": source},
            "Handler": "index.handler",
            "Role": ROLE_ARN,
            "Runtime": "python3.13",
            "Timeout": 30,
            **properties,
        },
    }


def deploy(client: Callable[[str], Any], stack: str, resources: Template) -> dict[str, str]:
    """Deploy a new stack, and return its physical ids."""
    cloudformation = client("cloudformation")
    cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName="change",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Role": trusting("lambda.amazonaws.com"), **resources}}),
    )
    cloudformation.execute_change_set(StackName=stack, ChangeSetName="change")
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    made = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in made}


def invoke(client: Callable[[str], Any], name: str, event: object = None) -> Any:  # noqa: ANN401 - JSON
    """Invoke a function, and return what it returned."""
    answer = client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.load(answer["Payload"])


def failure(client: Callable[[str], Any], name: str) -> Any:  # noqa: ANN401 - JSON
    """Invoke a function that fails, and return the error's description."""
    answer = client("lambda").invoke(FunctionName=name, Payload=b"{}")
    assert answer["FunctionError"] == "Unhandled"
    return json.load(answer["Payload"])


def test_an_event_goes_in_and_a_result_comes_out(client: Callable[[str], Any]) -> None:
    ids = deploy(client, "echo", {"Function": function(RETURNS_EVENT)})

    assert invoke(client, ids["Function"], {"text": "süß", "list": [1, None]}) == {"text": "süß", "list": [1, None]}


def test_a_function_finds_its_variables_its_region_and_nothing_of_whoever_runs_the_emulator(
    client: Callable[[str], Any],
) -> None:
    source = "import os\ndef handler(event, context): return dict(os.environ)"
    variables = {"Variables": {"MINE": "1", "AWS_REGION": "eu-west-1"}}
    ids = deploy(client, "environment", {"Function": function(source, Environment=variables)})

    environment = invoke(client, ids["Function"])

    assert environment["MINE"] == "1"
    assert (environment["AWS_REGION"], environment["AWS_LAMBDA_FUNCTION_NAME"]) == (REGION, ids["Function"])
    assert {name for name in environment if not name.startswith(("AWS_", "LAMBDA_"))} <= {
        *("MINE", "_HANDLER", "LANG", "LC_CTYPE", "PATH", "TZ"),
    }


def test_a_function_finds_what_lambda_has_and_nothing_else_that_is_installed_here(client: Callable[[str], Any]) -> None:
    source = (
        "import boto3, importlib.util\n"
        "def handler(event, context): return [name for name in event if importlib.util.find_spec(name)]"
    )
    ids = deploy(client, "packages", {"Function": function(source)})

    found = invoke(client, ids["Function"], ["botocore", "cdk_buildkit", "aws_cdk", "moto", "cryptography", "local"])

    assert found == ["botocore"]


def test_a_function_has_its_roles_rights_while_policies_count_for_nobody_else(
    client: Callable[[str], Any], emulator: Emulator
) -> None:
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    return boto3.client('s3').get_object(Bucket=event['bucket'], Key=event['key'])['Body'].read().decode()"
    )
    bucket = {"Fn::GetAtt": ["Bucket", "Arn"]}
    ids = deploy(
        client,
        "rights",
        {
            "Bucket": {"Type": "AWS::S3::Bucket"},
            "Policy": allowing("Role", "s3:GetObject", {"Fn::Join": ["", [bucket, "/mine/*"]]}),
            "Function": function(source),
        },
    )
    for key in ("mine/x", "other/x"):
        client("s3").put_object(Bucket=ids["Bucket"], Key=key, Body=key.encode())
    position = emulator.log.position

    assert invoke(client, ids["Function"], {"bucket": ids["Bucket"], "key": "mine/x"}) == "mine/x"
    described = json.load(
        client("lambda").invoke(
            FunctionName=ids["Function"], Payload=json.dumps({"bucket": ids["Bucket"], "key": "other/x"})
        )["Payload"]
    )

    (denial,) = (each for each in emulator.log.since(position) if isinstance(each, Denial))
    assert described["errorType"] == "AccessDenied"
    assert (denial.action, denial.resource) == ("s3:GetObject", f"arn:aws:s3:::{ids['Bucket']}/other/x")
    assert str(denial.principal).endswith(f"assumed-role/{ids['Role']}/{ids['Function']}")


def test_an_error_is_described_and_in_the_functions_log(client: Callable[[str], Any], emulator: Emulator) -> None:
    source = "def handler(event, context):\n    print('begun')\n    raise ValueError('too late')"
    ids = deploy(client, "error", {"Function": function(source)})

    described = failure(client, ids["Function"])

    log = emulator.function_log(ids["Function"]).read_text()
    assert (described["errorType"], described["errorMessage"]) == ("ValueError", "too late")
    assert log.startswith(f"START RequestId: {described['requestId']} ")
    assert "begun\n[ERROR] ValueError: too late\n" in log


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("import nowhere", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("other = None", "Runtime.ImportModuleError", "Handler 'handler' missing"),
        ("def handler(event, context): return object()", "Runtime.MarshalError", "not JSON serializable"),
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError", "exit status 3"),
    ],
)
def test_what_is_no_function_fails_as_on_lambda(
    client: Callable[[str], Any], source: str, kind: str, words: str
) -> None:
    stack = f"broken-{abs(hash(source))}"
    ids = deploy(client, stack, {"Function": function(source)})

    described = failure(client, ids["Function"])

    assert described["errorType"] == kind
    assert words in described["errorMessage"]


def test_a_function_ends_at_its_timeout_with_all_that_it_started(client: Callable[[str], Any], tmp_path: Path) -> None:
    source = (
        "import subprocess, time\n"
        "def handler(event, context):\n"
        f"    subprocess.Popen(['sh', '-c', 'sleep 3; touch {tmp_path}/outlived'])\n"
        "    time.sleep(60)"
    )
    ids = deploy(client, "timeout", {"Function": function(source, Timeout=1)})

    described = failure(client, ids["Function"])
    time.sleep(3)

    assert described["errorType"] == "Sandbox.Timedout"
    assert described["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert not (tmp_path / "outlived").exists()


def test_the_context_tells_the_remaining_time_and_the_name(client: Callable[[str], Any]) -> None:
    source = (
        "def handler(event, context):\n"
        "    return [context.get_remaining_time_in_millis(), context.function_name, context.invoked_function_arn]"
    )
    ids = deploy(client, "context", {"Function": function(source, Timeout=20)})

    remaining, name, arn = invoke(client, ids["Function"])

    assert 10_000 < remaining <= 20_000
    assert (name, arn) == (ids["Function"], f"arn:aws:lambda:{REGION}:123456789012:function:{ids['Function']}")


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_an_event_is_not_waited_for_and_tried_three_times(client: Callable[[str], Any], tmp_path: Path) -> None:
    source = (
        "import time\n"
        "def handler(event, context):\n"
        "    time.sleep(1)\n"
        f"    with open('{tmp_path}/attempts', 'a') as file: file.write(event['text'])\n"
        "    raise ValueError"
    )
    ids = deploy(client, "event", {"Function": function(source)})

    status = client("lambda").invoke(FunctionName=ids["Function"], InvocationType="Event", Payload=b'{"text": "x"}')[
        "StatusCode"
    ]
    not_yet = (tmp_path / "attempts").exists()

    assert (status, not_yet) == (202, False)
    assert eventually(lambda: (tmp_path / "attempts").exists() and (tmp_path / "attempts").read_text() == "xxx")


def test_who_may_not_invoke_a_function_does_not(client: Callable[[str], Any], emulator: Emulator) -> None:
    ids = deploy(
        client,
        "callers",
        {
            "Function": function(RETURNS_EVENT),
            "Other": function(RETURNS_EVENT),
            "Caller": trusting("ec2.amazonaws.com"),
            "CallerPolicy": allowing("Caller", "lambda:InvokeFunction", {"Fn::GetAtt": ["Function", "Arn"]}),
            "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Caller"}]}},
        },
    )
    credentials = emulator.instance_credentials(ids["Profile"])
    caller = boto3.client(
        "lambda",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
        region_name=REGION,
        endpoint_url=emulator.endpoint_url,
    )
    emulator.enforce_iam()
    try:
        allowed = caller.invoke(FunctionName=ids["Function"], Payload=b"1")
        by_arn = caller.invoke(FunctionName=f"arn:aws:lambda:{REGION}:123456789012:function:{ids['Function']}")
        with pytest.raises(ClientError) as denied:
            caller.invoke(FunctionName=ids["Other"])
    finally:
        emulator.enforce_iam(enforce=False)

    assert (allowed["Payload"].read(), by_arn["StatusCode"]) == (b"1", 200)
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert f"lambda:InvokeFunction on arn:aws:lambda:{REGION}:123456789012:function:{ids['Other']}" in str(denied.value)


@pytest.mark.parametrize("path", ["package/fast.abi3.so", "fast.cpython-313-aarch64-linux-gnu.so"])
def test_code_for_another_machine_without_a_stand_in_is_refused_by_name(
    client: Callable[[str], Any], emulator: Emulator, path: str
) -> None:
    content = io.BytesIO()
    header = b"\x7fELF" + bytes(14) + (62 if platform.machine() == "aarch64" else 183).to_bytes(2, "little")
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", RETURNS_EVENT)
        archive.writestr(path, header)
    bucket = f"code-{abs(hash(path))}"
    client("s3").create_bucket(Bucket=bucket)
    client("s3").put_object(Bucket=bucket, Key="code.zip", Body=content.getvalue())
    resource = function("")
    resource["Properties"]["Code"] = {"S3Bucket": bucket, "S3Key": "code.zip"}
    ids = deploy(client, bucket, {"Function": resource})
    position = emulator.log.position

    with pytest.raises(ClientError):
        client("lambda").invoke(FunctionName=ids["Function"])

    (record,) = (each for each in emulator.log.since(position) if isinstance(each, Failure))
    assert f"{path} was compiled for another machine" in record.message


def test_a_handler_is_loaded_from_its_asset_and_what_was_compiled_for_another_machine_from_here(
    client: Callable[[str], Any], tmp_path: Path
) -> None:
    stage_handler("certificates", tmp_path)
    (tmp_path / "probe.py").write_text(
        "import cryptography, pycparser, cdk_buildkit.handlers.certificates.index as index\n"
        "def handler(event, context): return [index.__file__, pycparser.__file__, cryptography.__file__]"
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in tmp_path.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    client("s3").create_bucket(Bucket="assets")
    client("s3").put_object(Bucket="assets", Key="code.zip", Body=content.getvalue())
    resource = function("", Handler="probe.handler")
    resource["Properties"]["Code"] = {"S3Bucket": "assets", "S3Key": "code.zip"}
    ids = deploy(client, "probe", {"Function": resource})

    handler, pure, compiled = invoke(client, ids["Function"])

    asset = "/root/" if (platform.machine(), sys.version_info[:2]) == ("aarch64", (3, 13)) else "/stand-ins/"
    assert handler.endswith("/root/cdk_buildkit/handlers/certificates/index.py")
    assert pure.endswith("/root/pycparser/__init__.py")
    assert f"{asset}cryptography/" in compiled


def test_a_runtime_that_is_not_run_here_is_refused_by_name(client: Callable[[str], Any]) -> None:
    ids = deploy(client, "node", {"Function": function("", Runtime="nodejs22.x")})

    with pytest.raises(ClientError, match=r"functions in Python .* are run here; .* nodejs22\.x"):
        client("lambda").invoke(FunctionName=ids["Function"])


def test_a_function_has_no_role_that_does_not_trust_lambda(client: Callable[[str], Any]) -> None:
    resource = function(RETURNS_EVENT, Role={"Fn::GetAtt": ["Instance", "Arn"]})
    ids = deploy(client, "untrusting", {"Function": resource, "Instance": trusting("ec2.amazonaws.com")})

    with pytest.raises(ClientError, match=r"does not trust lambda\.amazonaws\.com"):
        client("lambda").invoke(FunctionName=ids["Function"])


def test_a_rule_invokes_its_function_with_its_input_if_the_functions_policy_lets_it(
    client: Callable[[str], Any], emulator: Emulator
) -> None:
    target = {"Arn": {"Fn::GetAtt": ["Function", "Arn"]}, "Id": "Target0", "Input": '{"action":"renew"}'}
    rule = {"ScheduleExpression": "rate(1 day)", "State": "ENABLED", "Targets": [target]}
    permission = {
        "Action": "lambda:InvokeFunction",
        "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]},
        "Principal": "events.amazonaws.com",
        "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
    }
    ids = deploy(
        client,
        "rules",
        {
            "Function": function(RETURNS_EVENT),
            "Rule": {"Type": "AWS::Events::Rule", "Properties": rule},
            "Other": {"Type": "AWS::Events::Rule", "Properties": rule},
            "Permission": {"Type": "AWS::Lambda::Permission", "Properties": permission},
        },
    )

    assert emulator.fire_rule(ids["Rule"]) == [{"action": "renew"}]
    with pytest.raises(EmulatorError, match=r"events\.amazonaws\.com may not invoke"):
        emulator.fire_rule(ids["Other"])
