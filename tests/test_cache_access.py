"""What the builders' role may do with the cache: real BuildKit, the synthesized policies, an emulator that enforces."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.builder import Builder
from local.client import DECOY_ACCESS_KEY, Client
from local.emulator.aws import REGION, Aws
from local.emulator.request_log import Denial
from local.lab import ARCHITECTURE, Lab

MAIN = CacheScope("main")
PULL_REQUESTS = CacheScope("pull-requests")
OTHER_ARCHITECTURE = next(each for each in Architecture if each is not ARCHITECTURE)


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder("main") as builder:
        yield builder


@pytest.fixture(scope="module")
def client(lab: Lab, builder: Builder) -> Client:
    return lab.client("main", {ARCHITECTURE: builder})


@pytest.fixture
def context(tmp_path: Path, busybox_arguments: list[str]) -> Path:
    assert busybox_arguments
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN echo {tmp_path.name} >/built\n")
    return tmp_path


@pytest.fixture
def s3(lab: Lab) -> Any:  # noqa: ANN401 - boto3 makes a service's client at run time
    credentials = lab.credentials("main")
    return boto3.client(
        "s3",
        endpoint_url=lab.emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )


def denials(lab: Lab, since: int) -> list[Denial]:
    return [record for record in lab.emulator.log.since(since) if isinstance(record, Denial)]


def objects(lab: Lab, prefix: str) -> dict[str, datetime]:
    s3 = Aws(lab.emulator.endpoint_url).client("s3")
    listed = s3.list_objects_v2(Bucket=lab.deployment.cache_bucket(ARCHITECTURE), Prefix=prefix)
    return {item["Key"]: item["LastModified"] for item in listed.get("Contents", [])}


def test_the_role_exports_and_a_fresh_builder_imports(
    lab: Lab, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(MAIN, cache_name("access/one", "main"))
    position = lab.emulator.log.position

    client.build(context, options=options, arguments=busybox_arguments)
    with lab.builder("main") as fresh:
        build = lab.client("main", {ARCHITECTURE: fresh}).build(context, options=options, arguments=busybox_arguments)

    assert build.cached_steps == build.steps > 0
    assert denials(lab, position) == []
    assert "main/manifests/access%2Fone/main" in objects(lab, "main/manifests/")


def test_the_cache_sees_the_builders_key_and_never_the_clients(
    lab: Lab, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    position = lab.emulator.log.position

    client.build(context, options=cache_options(MAIN, cache_name("access", "keys")), arguments=busybox_arguments)

    keys = {request.access_key for request in lab.cache_requests(since=position)}
    assert keys == {lab.credentials("main")["AccessKeyId"]}
    assert DECOY_ACCESS_KEY not in keys


def test_options_without_the_empty_keys_would_send_the_clients(
    lab: Lab, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    position = lab.emulator.log.position
    bare = f"type=s3,prefix={MAIN.prefix},name=access,ignore-error=true"

    client.build(context, arguments=[*busybox_arguments, f"--cache-to={bare},mode=max"])

    assert DECOY_ACCESS_KEY in {request.access_key for request in lab.cache_requests(since=position)}


def test_an_export_touches_layers_that_are_older_than_a_day(
    lab: Lab, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(MAIN, cache_name("access", "touch"))
    client.build(context, options=options, arguments=busybox_arguments)
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    lab.emulator.set_last_modified(lab.deployment.cache_bucket(ARCHITECTURE), MAIN.blobs_prefix, two_days_ago)
    position = lab.emulator.log.position

    client.build(context, options=options, arguments=busybox_arguments)

    assert denials(lab, position) == []
    refreshed = [key for key, modified in objects(lab, MAIN.blobs_prefix).items() if modified > two_days_ago]
    assert len(refreshed) == 2  # the base image's layer and the step's


def test_an_export_into_another_scope_is_denied_and_the_build_succeeds(
    lab: Lab, client: Client, context: Path, busybox_arguments: list[str]
) -> None:
    position = lab.emulator.log.position

    client.build(
        context, options=cache_options(PULL_REQUESTS, cache_name("access", "main")), arguments=busybox_arguments
    )

    assert {denial.action for denial in denials(lab, position)} >= {"s3:GetObject"}
    assert objects(lab, PULL_REQUESTS.prefix) == {}


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("delete_object", {"Key": "main/manifests/access/main"}),
        ("put_object", {"Key": "pull-requests/manifests/x", "Body": b"{}"}),
        ("get_object", {"Key": "pull-requests/manifests/x"}),
        ("put_object", {"Key": "elsewhere", "Body": b"{}"}),
        ("put_object_tagging", {"Key": "main/manifests/access/main", "Tagging": {"TagSet": []}}),
        ("put_bucket_lifecycle_configuration", {"LifecycleConfiguration": {"Rules": []}}),
        ("delete_bucket", {}),
    ],
    ids=["delete", "write another scope", "read another scope", "write outside", "tag", "change the rules", "remove"],
)
def test_the_role_may_do_nothing_else_in_its_bucket(s3: Any, lab: Lab, call: str, arguments: dict[str, Any]) -> None:  # noqa: ANN401
    with pytest.raises(ClientError) as refused:
        getattr(s3, call)(Bucket=lab.deployment.cache_bucket(ARCHITECTURE), **arguments)

    assert refused.value.response["Error"]["Code"] == "AccessDenied"


def test_the_role_may_write_only_its_scope_in_the_other_architectures_bucket(s3: Any, lab: Lab) -> None:  # noqa: ANN401
    bucket = lab.deployment.cache_bucket(OTHER_ARCHITECTURE)

    s3.put_object(Bucket=bucket, Key="main/manifests/x", Body=b"{}")

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="pull-requests/manifests/x", Body=b"{}")


def test_the_role_may_not_touch_another_bucket(s3: Any, lab: Lab) -> None:  # noqa: ANN401
    Aws(lab.emulator.endpoint_url).client("s3").create_bucket(Bucket="somebody-elses")

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="somebody-elses", Key="main/manifests/x", Body=b"{}")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket="somebody-elses")


def test_a_missing_manifest_is_not_found_rather_than_denied(s3: Any, lab: Lab) -> None:  # noqa: ANN401
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=lab.deployment.cache_bucket(ARCHITECTURE), Key="main/manifests/never")

    assert refused.value.response["Error"]["Code"] == "NoSuchKey"
