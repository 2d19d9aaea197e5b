"""The function that copies BuildKit's archives, with the synthesized role and bucket, from a real HTTPS server."""

import hashlib
import json
import random
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError

from cdk_buildkit import ReleaseBucket
from cdk_buildkit.handler_function import stage_handler
from cdk_buildkit.handlers.release.archive_store import ArchiveStore, StoreError
from cdk_buildkit.handlers.release.copying import Archive, copy_archives
from cdk_buildkit.handlers.release.index import ANSWER_SECONDS, handler
from local.emulator.aws import ACCOUNT, Aws
from local.emulator.process import Emulator
from local.emulator.request_log import Denial
from local.https_server import HttpsServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "releases"
LONGEST_WAIT = 10
"""For how long, in seconds, the upstream holds a request that waits for others."""
SETTINGS = {"BUCKET": BUCKET, "PREFIX": "buildkit/", "LOG_GROUP": "copier"}
CONTENT = random.Random("arm64").randbytes(3_000_000)  # noqa: S311 - the same at every run
OTHER_CONTENT = random.Random("amd64").randbytes(1_000_000)  # noqa: S311 - likewise


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# The upstream


class Upstream:
    """An HTTPS server with files by their paths; another path is not found."""

    def __init__(self, directory: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.together = threading.Barrier(1)
        """Requests wait until there are so many."""
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.asked.append(self.path)
                upstream.together.wait(LONGEST_WAIT)
                content = upstream.files.get(self.path.partition("?")[0])
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = HttpsServer(Handler, directory)
        self.url = self.server.url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    with upstream.server:
        yield upstream


@pytest.fixture
def upstream(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The server, trusted as a public one is: its authority is among those of the machine."""
    server.files = {"/arm64": CONTENT, "/amd64": OTHER_CONTENT}
    server.asked.clear()
    server.together = threading.Barrier(1)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.server.authority_file))
    return server


# The account


@dataclass(frozen=True)
class Account:
    """An account that enforces IAM, with the bucket and the function's role as they are synthesized."""

    emulator: Emulator
    operator: "S3Client"
    function_environment: dict[str, str]
    policy: str
    role: str

    @property
    def objects(self) -> dict[str, bytes]:
        keys = [each["Key"] for each in self.operator.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key: self.operator.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    @property
    def denials(self) -> list[Denial]:
        return [record for record in self.emulator.log.since() if isinstance(record, Denial)]

    def allow(self, policy: str) -> None:
        iam = Aws(self.emulator.endpoint_url).client("iam")
        iam.put_role_policy(RoleName=self.role, PolicyName="own", PolicyDocument=policy)

    def make_bucket(self, bucket_policy: str) -> None:
        self.operator.create_bucket(Bucket=BUCKET)
        self.operator.put_bucket_policy(Bucket=BUCKET, Policy=bucket_policy)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The template of a release bucket, with the names that the account gives."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out")), context={"@aws-cdk/aws-iam:minimizePolicies": True})
    stack = cdk.Stack(app, "Stack")
    ReleaseBucket(stack, "Releases")
    document = Template.from_stack(stack).to_json()
    (bucket,) = (name for name, each in document["Resources"].items() if each["Type"] == "AWS::S3::Bucket")
    (log,) = (name for name, each in document["Resources"].items() if each["Type"] == "AWS::Logs::LogGroup")
    names = {bucket: f"arn:aws:s3:::{BUCKET}", log: f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:copier:*"}

    def resolve(value: Any) -> Any:  # noqa: ANN401 - a part of a template
        match value:
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(resolve, parts))
            case {"Fn::GetAtt": [resource, "Arn"]}:
                return names.get(resource, resource)
            case dict():
                return {key: resolve(each) for key, each in value.items()}
            case list():
                return [resolve(each) for each in value]
        return value

    resources = resolve(document)["Resources"].values()
    return {each["Type"]: each["Properties"] for each in resources}


@pytest.fixture(scope="module")
def shared_account(template: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Emulator(tmp_path_factory.mktemp("emulator") / "log") as emulator:
        aws = Aws(emulator.endpoint_url)
        role = aws.client("iam").create_role(
            RoleName="copier",
            AssumeRolePolicyDocument=json.dumps(template["AWS::IAM::Role"]["AssumeRolePolicyDocument"]),
        )["Role"]
        session = aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="copier")["Credentials"]
        yield Account(
            emulator=emulator,
            operator=aws.client("s3"),
            role=role["RoleName"],
            policy=json.dumps(template["AWS::IAM::Policy"]["PolicyDocument"]),
            function_environment={
                **SETTINGS,
                **emulator.environment,
                # By its address, with which boto3 does not look for a host by the bucket's name.
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{emulator.port}",
                "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
                "AWS_SESSION_TOKEN": session["SessionToken"],
            },
        )


@pytest.fixture
def account(shared_account: Account, template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """The account with an empty bucket, and this process in the place of the function."""
    for name, value in shared_account.function_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    shared_account.make_bucket(json.dumps(template["AWS::S3::BucketPolicy"]["PolicyDocument"]))
    shared_account.allow(shared_account.policy)
    yield shared_account
    for key in shared_account.objects:
        shared_account.operator.delete_object(Bucket=BUCKET, Key=key)
    shared_account.operator.delete_bucket(Bucket=BUCKET)


# CloudFormation


@dataclass(frozen=True)
class Context:
    """What Lambda tells of a call."""

    seconds: float = 900

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class CloudFormation:
    """Sends the function requests, and has its answers."""

    def __init__(self) -> None:
        self._answers: list[dict[str, Any]] = []
        answers = self._answers

        class Endpoint(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Endpoint)

    def event(self, kind: str, *archives: Archive, physical_id: str = BUCKET) -> dict[str, Any]:
        return {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self.server.server_port}/",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Copied",
            **({} if kind == "Create" else {"PhysicalResourceId": physical_id}),
            "ResourceProperties": {
                "ServiceToken": "arn",
                "Archives": [{"Url": each.url, "Sha256": each.sha256, "Key": each.key} for each in archives],
            },
        }

    def send(self, kind: str, *archives: Archive, seconds: float = 900, physical_id: str = BUCKET) -> dict[str, Any]:
        handler(self.event(kind, *archives, physical_id=physical_id), Context(seconds))
        return self._answers.pop()


@pytest.fixture
def cloudformation(account: Account) -> Iterator[CloudFormation]:
    assert account
    endpoint = CloudFormation()
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield endpoint
    endpoint.server.shutdown()
    thread.join()
    endpoint.server.server_close()


def archive(url: str, content: bytes = CONTENT, version: str = "v1.0.0") -> Archive:
    return Archive(url=url, sha256=sha256(content), key=f"buildkit/{version}/linux-arm64/{sha256(content)}.tar.gz")


def reason(answer: dict[str, Any]) -> str:
    assert answer["Status"] == "FAILED"
    return str(answer["Reason"])


# Copying


def test_the_first_deployment_copies_every_archive_and_names_the_bucket(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    archives = [archive(f"{upstream.url}/arm64"), archive(f"{upstream.url}/amd64", OTHER_CONTENT)]
    denied = len(account.denials)

    answer = cloudformation.send("Create", *archives)

    assert answer == {
        "Status": "SUCCESS",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Copied",
        "PhysicalResourceId": BUCKET,
        "Data": {"Bucket": BUCKET},
    }
    assert account.objects == {archives[0].key: CONTENT, archives[1].key: OTHER_CONTENT}
    assert upstream.asked == ["/arm64", "/amd64"]
    assert account.denials[denied:] == []


def test_what_is_there_is_not_fetched_again_from_wherever(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    cloudformation.send("Create", archive(f"{upstream.url}/arm64"))
    before = account.operator.head_object(Bucket=BUCKET, Key=archive("").key)["LastModified"]
    upstream.asked.clear()

    again = cloudformation.send("Update", archive(f"{upstream.url}/arm64"))
    elsewhere = cloudformation.send("Update", archive("https://mirror.invalid/archive"))

    assert (again["Status"], elsewhere["Status"]) == ("SUCCESS", "SUCCESS")
    assert again["PhysicalResourceId"] == elsewhere["PhysicalResourceId"] == BUCKET
    assert upstream.asked == []
    assert account.operator.head_object(Bucket=BUCKET, Key=archive("").key)["LastModified"] == before


def test_an_upgrade_leaves_the_former_release_and_a_roll_back_finds_it(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    former = archive(f"{upstream.url}/arm64")
    latter = archive(f"{upstream.url}/amd64", OTHER_CONTENT, "v1.1.0")
    cloudformation.send("Create", former)

    upgraded = cloudformation.send("Update", latter)
    upstream.asked.clear()
    rolled_back = cloudformation.send("Update", former)

    assert (upgraded["Status"], rolled_back["Status"]) == ("SUCCESS", "SUCCESS")
    assert upgraded["PhysicalResourceId"] == rolled_back["PhysicalResourceId"]  # or CloudFormation deletes the former
    assert account.objects == {former.key: CONTENT, latter.key: OTHER_CONTENT}
    assert upstream.asked == []


def test_another_sum_fails_the_deployment_and_nothing_is_stored(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    pinned = archive(f"{upstream.url}/amd64?token=SECRET")

    answer = cloudformation.send("Create", pinned)

    assert reason(answer) == (
        f"WrongSumError: {upstream.url}/amd64: got 1000000 bytes with the SHA-256 {sha256(OTHER_CONTENT)}, allowed "
        f"{pinned.sha256}: correct the release's sha256, version or url, and take the sum from where the release is "
        "published, never from what has just come; nothing was stored (details: log group copier)"
    )
    assert account.objects == {}
    assert upstream.asked == ["/amd64?token=SECRET"]


def test_a_server_that_is_too_slow_fails_the_deployment_before_lambda_ends_the_function(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    upstream.together = threading.Barrier(2)
    started = time.monotonic()

    answer = cloudformation.send("Create", archive(f"{upstream.url}/arm64"), seconds=ANSWER_SECONDS + 1)

    assert time.monotonic() - started < LONGEST_WAIT
    assert "got 0 of ? bytes in " in reason(answer)
    assert "allowed the whole file before the function's time ends" in reason(answer)
    assert account.objects == {}


def test_calls_at_once_leave_one_good_archive(account: Account, upstream: Upstream) -> None:
    upstream.together = threading.Barrier(4)
    wanted = archive(f"{upstream.url}/arm64")
    store = ArchiveStore(boto3.client("s3"), bucket=BUCKET, prefix="buildkit/")
    copied: list[list[str]] = []

    def copy() -> None:
        copied.append(copy_archives(store, [wanted], deadline=time.monotonic() + 60))

    calls = [threading.Thread(target=copy) for _ in range(4)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()

    assert copied == [[wanted.key]] * 4
    assert account.objects == {wanted.key: CONTENT}


# What counts as a copy


def put_without_a_sum(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=OTHER_CONTENT)


def put_with_its_own_sum(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=OTHER_CONTENT, ChecksumAlgorithm="SHA256")


def put_with_a_claim(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=OTHER_CONTENT, Metadata={"sha256": sha256(CONTENT)})


def put_in_part(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=CONTENT[:1000], ChecksumAlgorithm="SHA256")


def put_the_right_content_without_a_sum(s3: "S3Client", key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=CONTENT)


@pytest.mark.parametrize(
    "put",
    [
        put_without_a_sum,
        put_with_its_own_sum,
        put_with_a_claim,
        put_in_part,
        put_the_right_content_without_a_sum,
    ],
)
def test_an_object_that_s3_does_not_vouch_for_is_replaced(
    account: Account, cloudformation: CloudFormation, upstream: Upstream, put: Callable[["S3Client", str], None]
) -> None:
    wanted = archive(f"{upstream.url}/arm64")
    put(account.operator, wanted.key)

    assert cloudformation.send("Create", wanted)["Status"] == "SUCCESS"

    assert account.objects == {wanted.key: CONTENT}
    assert upstream.asked == ["/arm64"]


def test_an_object_that_s3_vouches_for_counts_whoever_put_it_there(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    wanted = archive(f"{upstream.url}/arm64")
    account.operator.put_object(Bucket=BUCKET, Key=wanted.key, Body=CONTENT, ChecksumAlgorithm="SHA256")

    assert cloudformation.send("Create", wanted)["Status"] == "SUCCESS"

    assert upstream.asked == []


def test_s3_itself_refuses_content_of_another_sum(account: Account, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OTHER_CONTENT)
    store = ArchiveStore(boto3.client("s3"), bucket=BUCKET, prefix="buildkit/")

    with (tmp_path / "file").open("rb") as file, pytest.raises(StoreError, match="answers PutObject with BadDigest"):
        store.put("buildkit/archive", file, sha256(CONTENT))

    assert account.objects == {}


# S3 that refuses


@pytest.mark.parametrize(
    ("forbidden", "words"),
    [
        ("s3:PutObject", "S3 answers PutObject with AccessDenied: see that no bucket policy"),
        ("s3:ListBucket", "S3 answers HeadObject with 403: see that no bucket policy"),
        ("s3:GetObject", "S3 answers HeadObject with 403: see that no bucket policy"),
    ],
)
def test_what_the_function_may_not_do_fails_the_deployment_by_its_name(
    account: Account, cloudformation: CloudFormation, upstream: Upstream, forbidden: str, words: str
) -> None:
    wanted = archive(f"{upstream.url}/arm64")
    policy = json.loads(account.policy)
    policy["Statement"].append({"Effect": "Deny", "Action": forbidden, "Resource": "*"})
    account.allow(json.dumps(policy))

    answer = cloudformation.send("Create", wanted)

    assert f"StoreError: s3://{BUCKET}/{wanted.key}: {words}" in reason(answer)
    assert account.objects == {}


def test_an_s3_that_cannot_be_reached_fails_the_deployment(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    answer = cloudformation.send("Create", archive("https://localhost/archive"))

    assert "S3 cannot be asked (EndpointConnectionError): deploy again" in reason(answer)


def test_the_function_may_use_no_key_outside_its_prefix(account: Account) -> None:
    store = ArchiveStore(boto3.client("s3"), bucket=BUCKET, prefix="buildkit/")
    account.operator.put_object(Bucket=BUCKET, Key="elsewhere", Body=b"")

    with pytest.raises(StoreError, match="403"):
        store.holds("elsewhere", sha256(b""))

    with pytest.raises(ClientError, match="AccessDenied"):
        boto3.client("s3").delete_object(Bucket=BUCKET, Key="elsewhere")


# The end


def test_the_bucket_is_empty_when_its_stack_is_deleted(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    cloudformation.send("Create", archive(f"{upstream.url}/arm64"))
    cloudformation.send("Update", archive(f"{upstream.url}/amd64", OTHER_CONTENT))
    denied = len(account.denials)

    answer = cloudformation.send("Delete", archive(f"{upstream.url}/amd64", OTHER_CONTENT))

    assert answer["Status"] == "SUCCESS"
    assert account.objects == {}
    assert account.denials[denied:] == []


def test_what_somebody_else_keeps_in_the_bucket_stays(account: Account, cloudformation: CloudFormation) -> None:
    account.operator.put_object(Bucket=BUCKET, Key="elsewhere", Body=b"")

    assert cloudformation.send("Delete")["Status"] == "SUCCESS"

    assert list(account.objects) == ["elsewhere"]


def test_a_deployment_that_failed_at_the_second_archive_is_rolled_back(
    account: Account, cloudformation: CloudFormation, upstream: Upstream
) -> None:
    archives = [archive(f"{upstream.url}/arm64"), archive(f"{upstream.url}/missing", OTHER_CONTENT)]

    created = cloudformation.send("Create", *archives)
    left = list(account.objects)
    deleted = cloudformation.send("Delete", *archives, physical_id=created["PhysicalResourceId"])

    assert f"DownloadError: {upstream.url}/missing: got HTTP 404 Not Found, allowed HTTP 200" in reason(created)
    assert deleted["Status"] == "SUCCESS"
    assert left == [archives[0].key]
    assert account.objects == {}


def test_a_bucket_that_is_gone_already_is_empty(account: Account, cloudformation: CloudFormation) -> None:
    account.operator.delete_bucket(Bucket=BUCKET)

    answer = cloudformation.send("Delete")

    account.operator.create_bucket(Bucket=BUCKET)
    assert answer["Status"] == "SUCCESS"


# In Lambda


def test_the_asset_copies_in_a_process_of_its_own_whose_memory_does_not_grow_with_the_archive(
    account: Account, cloudformation: CloudFormation, upstream: Upstream, tmp_path: Path
) -> None:
    stage_handler("release", tmp_path / "asset")
    large = CONTENT * 40
    upstream.files |= {"/small": CONTENT, "/large": large}
    program = f"""
import json, resource, sys
sys.path += [{str(tmp_path / "asset")!r}, {sysconfig.get_path("purelib")!r}]
from cdk_buildkit.handlers.release.index import ANSWER_SECONDS, handler

class Context:
    def get_remaining_time_in_millis(self):
        return 900_000

used = []
for event in json.load(sys.stdin):
    handler(event, Context())
    used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps({{"used": used, "cdk": "aws_cdk" in sys.modules}}))
"""
    events = [
        cloudformation.event("Create", archive(f"{upstream.url}/small")),
        cloudformation.event("Create", archive(f"{upstream.url}/large", large)),
    ]

    # Isolated, and without the site's own paths: no other cdk_buildkit is found.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        input=json.dumps(events),
        capture_output=True,
        text=True,
        check=True,
    )

    told = json.loads(done.stdout.splitlines()[-1])
    assert set(account.objects.values()) == {CONTENT, large}
    assert told["cdk"] is False
    assert told["used"][1] - told["used"][0] < 20_000  # KiB, of 117 MiB
