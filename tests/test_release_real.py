"""Builders that boot from the archives that the deployment's own function has copied: real ones, under the role."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.builder import BuilderError
from local.emulator.aws import REGION, Aws
from local.emulator.request_log import S3Request
from local.lab import ARCHITECTURE, Lab
from local.vpc import GATEWAY

PREFIX = "buildkit/"


class StumblingS3:
    """Stands between a builder and S3, and does to the first requests for an archive what it is told to."""

    def __init__(self, port: int, stumbles: list[str]) -> None:
        self.answered: list[str] = []
        stumbling = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stumble = "none"
                if f"/{PREFIX}" in self.path:
                    stumble = stumbles.pop(0) if stumbles else "none"
                    stumbling.answered.append(stumble)
                if stumble == "unavailable":
                    self.send_error(503)
                    return
                connection = HTTPConnection("127.0.0.1", port)
                # With the host that was asked for: the signature covers it.
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if stumble == "cut off" else content)

            do_HEAD = do_GET  # noqa: N815 - the base class's way

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((GATEWAY, 0), Handler)
        self.url = f"http://{GATEWAY}:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        self._server.shutdown()
        thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def bucket(lab: Lab) -> str:
    """The bucket with the archives."""
    s3 = Aws(lab.emulator.endpoint_url).client("s3")
    names = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    (name,) = [each for each in names if s3.list_objects_v2(Bucket=each, Prefix=PREFIX).get("Contents")]
    return str(name)


@pytest.fixture
def s3(lab: Lab) -> Any:  # noqa: ANN401 - boto3 makes a service's client at run time
    """S3, as a builder may use it."""
    credentials = lab.credentials("main")
    return boto3.client(
        "s3",
        endpoint_url=lab.emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )


def test_a_builder_boots_from_its_architectures_archive_in_the_account(lab: Lab, bucket: str) -> None:
    position = lab.emulator.log.position

    with lab.builder("main") as builder:
        assert builder.endpoint

    fetched = {
        (record.method, record.access_key, record.key.split("/")[2])
        for record in lab.emulator.log.since(position)
        if isinstance(record, S3Request) and record.bucket == bucket
    }
    key = lab.credentials("main")["AccessKeyId"]
    platform = f"linux-{ARCHITECTURE.oci_name}"
    assert fetched == {("HEAD", key, platform), ("GET", key, platform)}


def test_a_boot_survives_an_s3_that_stumbles(lab: Lab) -> None:
    stumbles = ["unavailable", "unavailable", "none", "cut off", "unavailable", "cut off"]
    s3 = StumblingS3(lab.emulator.port, list(stumbles))

    with s3.serving(), lab.builder("main", environment={"AWS_ENDPOINT_URL_S3": s3.url}) as builder:
        assert builder.endpoint

    assert s3.answered[: len(stumbles)] == stumbles


def test_a_builder_does_not_boot_from_an_archive_with_another_sum(lab: Lab, bucket: str) -> None:
    with pytest.raises(BuilderError) as error:
        lab.boot("main", environment={"BUILDKIT_ARCHIVE_SHA256": "0" * 64})

    words = str(error.value)
    assert f"s3://{bucket}/{PREFIX}" in words
    assert f"allowed {'0' * 64}: put the archive of that sum there with `aws s3 cp`" in words
    assert '{"event": "boot_failed", "code": 1' in words


def test_a_builder_does_not_boot_without_an_archive(lab: Lab, bucket: str) -> None:
    with pytest.raises(BuilderError, match=r'{"event": "boot_failed", "code": 1'):
        lab.boot("main", environment={"BUILDKIT_ARCHIVE": f"s3://{bucket}/{PREFIX}missing"})


def test_a_builder_cannot_change_what_others_boot_from(lab: Lab, bucket: str, s3: Any) -> None:  # noqa: ANN401 - boto3's
    operator = Aws(lab.emulator.endpoint_url).client("s3")
    keys = [each["Key"] for each in operator.list_objects_v2(Bucket=bucket)["Contents"]]

    for key in keys:
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket=bucket)
    assert len(keys) == 2
