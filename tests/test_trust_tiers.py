"""Fleets are trust tiers: what pull requests build never reaches main, by role, by certificate or by a layer."""

import copy
import hashlib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from local.builder import Builder
from local.client import BuildError
from local.emulator.aws import REGION, Aws
from local.emulator.request_log import Denial, S3Request
from local.lab import ARCHITECTURE, Lab
from tests.attack_probe import speak_tls

MAIN = CacheScope("main")
PULL_REQUESTS = CacheScope("pull-requests")
NAME = cache_name("tiers", "main")
DOCKERFILE = """\
FROM busybox
COPY layer /layer
RUN --mount=type=secret,id=word if [ -e /run/secrets/word ]; then cat /run/secrets/word; else echo clean; fi >/built
FROM scratch
COPY --from=0 /built /built
"""
"""A step whose result depends on what its cache key does not hold: whoever builds it first decides for all others."""

LAYER_BYTES = 2_000_000
OPT_IN = f"""\
[deployment]
name = "opt-in"
[builders.release]
architectures = ["{ARCHITECTURE}"]
[builders.review]
architectures = ["{ARCHITECTURE}"]
cache = {{ read = ["release"] }}
[builders.careless]
architectures = ["{ARCHITECTURE}"]
cache = {{ read = ["review"] }}
"""
"""Fleets that read what others write: `review` may do that, and the operator of `careless` should not have."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a build on a fresh builder came to."""

    built: str
    steps: int
    cached_steps: int
    denied: list[str]
    answered: list[S3Request]


Build = Callable[..., Outcome]


@pytest.fixture(scope="module")
def build(lab: Lab, busybox_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the same on a fresh builder of a fleet, and see what it asked of S3."""
    directory = tmp_path_factory.mktemp("tiers")
    context = directory / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "layer").write_bytes(hashlib.shake_128().digest(LAYER_BYTES))  # cannot be compressed

    def build(
        fleet: str, options: CacheOptions | None, *, word: str | None = None, on: Lab = lab, cache_to: str | None = None
    ) -> Outcome:
        position = on.emulator.log.position
        arguments = [*busybox_arguments, f"--output=type=local,dest={directory / 'output'}"]
        if word:
            (directory / "word").write_text(word)
            arguments += ["--secret", f"id=word,src={directory / 'word'}"]
        if cache_to:
            arguments += ["--cache-to", cache_to]
        with on.builder(fleet) as builder:
            done = on.client(fleet, {ARCHITECTURE: builder}).build(context, options=options, arguments=arguments)
        return Outcome(
            built=(directory / "output" / "built").read_text().strip(),
            steps=done.steps,
            cached_steps=done.cached_steps,
            denied=[each.action for each in on.emulator.log.since(position) if isinstance(each, Denial)],
            answered=[each for each in on.cache_requests(since=position) if each.status < 400],
        )

    return build


def objects(lab: Lab, scope: CacheScope) -> dict[str, tuple[Any, ...]]:
    return lab.deployment.objects(ARCHITECTURE, scope.prefix)


def client_of(lab: Lab, fleet: str, service: str) -> Any:  # noqa: ANN401 - boto3 makes a service's client at run time
    """A client of a service, with the credentials of a fleet's builders."""
    credentials = lab.credentials(fleet)
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=lab.emulator.endpoint_url,
        region_name=REGION,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )


@pytest.fixture(scope="module")
def _cache_of_main(build: Build) -> None:
    build("main", cache_options(MAIN, NAME))


# The role.


@pytest.mark.usefixtures("_cache_of_main")
def test_a_pull_requests_export_into_mains_scope_is_denied_and_its_build_succeeds(lab: Lab, build: Build) -> None:
    before = objects(lab, MAIN)

    attempt = build("pull-requests", cache_options(MAIN, NAME), word="poison")

    assert attempt.built == "poison"
    assert attempt.denied
    assert attempt.answered == []
    assert f"{MAIN.manifests_prefix}{NAME}" in before
    assert objects(lab, MAIN) == before


def test_a_pull_requests_export_into_mains_scope_fails_its_build_if_it_insists(build: Build) -> None:
    bare = f"type=s3,prefix={MAIN.prefix},name={NAME},mode=max,access_key_id=,secret_access_key="

    with pytest.raises(BuildError, match="403"):
        build("pull-requests", None, cache_to=bare)


@pytest.mark.usefixtures("_cache_of_main")
def test_a_way_up_from_its_own_scope_does_not_lead_a_pull_request_into_mains(lab: Lab, build: Build) -> None:
    before = objects(lab, MAIN)
    up = f"type=s3,prefix={PULL_REQUESTS.prefix}../{MAIN.prefix},name={NAME},mode=max,access_key_id=,secret_access_key="

    build("pull-requests", None, word="poison", cache_to=f"{up},ignore-error=true")

    assert objects(lab, MAIN) == before


@pytest.mark.usefixtures("_cache_of_main")
def test_a_pull_request_imports_nothing_from_mains_scope(build: Build) -> None:
    attempt = build("pull-requests", cache_options(PULL_REQUESTS, NAME, read_scopes=[MAIN]))

    assert attempt.cached_steps == 0
    assert "s3:GetObject" in attempt.denied
    assert [each.key for each in attempt.answered if each.key.startswith(MAIN.prefix)] == []


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("get_object", {}),
        ("head_object", {}),
        ("put_object", {"Body": b"poison"}),
        ("copy_object", {"CopySource": "{bucket}/pull-requests/blobs/own"}),
        ("create_multipart_upload", {}),
        ("upload_part", {"UploadId": "1", "PartNumber": 1, "Body": b"poison"}),
        ("abort_multipart_upload", {"UploadId": "1"}),
        ("delete_object", {}),
        ("put_object_tagging", {"Tagging": {"TagSet": []}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_pull_requests_role_can_do_nothing_to_mains_objects(lab: Lab, call: str, arguments: dict[str, Any]) -> None:
    bucket = lab.deployment.cache_bucket(ARCHITECTURE)
    s3 = client_of(lab, "pull-requests", "s3")
    s3.put_object(Bucket=bucket, Key="pull-requests/blobs/own", Body=b"poison")
    Aws(lab.emulator.endpoint_url).client("s3").put_object(Bucket=bucket, Key="main/blobs/theirs", Body=b"clean")
    before = objects(lab, MAIN)
    filled = {name: value.format(bucket=bucket) if name == "CopySource" else value for name, value in arguments.items()}

    with pytest.raises(ClientError) as refused:
        getattr(s3, call)(Bucket=bucket, Key="main/blobs/theirs", **filled)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert objects(lab, MAIN) == before


def test_the_pull_requests_role_cannot_copy_mains_objects_into_its_own_scope(lab: Lab) -> None:
    bucket = lab.deployment.cache_bucket(ARCHITECTURE)
    Aws(lab.emulator.endpoint_url).client("s3").put_object(Bucket=bucket, Key="main/blobs/theirs", Body=b"clean")

    with pytest.raises(ClientError, match="AccessDenied"):
        client_of(lab, "pull-requests", "s3").copy_object(
            Bucket=bucket, Key="pull-requests/blobs/stolen", CopySource=f"{bucket}/main/blobs/theirs"
        )


def test_the_pull_requests_role_can_neither_read_nor_replace_mains_certificates(lab: Lab) -> None:
    resources = (
        Aws(lab.emulator.endpoint_url)
        .client("cloudformation")
        .describe_stack_resources(StackName="buildkit-builders-main")["StackResources"]
    )
    secrets = [
        each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::SecretsManager::Secret"
    ]
    theirs = client_of(lab, "pull-requests", "secretsmanager")

    for secret in secrets:
        with pytest.raises(ClientError, match="AccessDenied"):
            theirs.get_secret_value(SecretId=secret)
        with pytest.raises(ClientError, match="AccessDenied"):
            theirs.put_secret_value(SecretId=secret, SecretString="{}")
    assert len(secrets) == 3  # the authority's, the servers', the clients'


# The certificate.


@pytest.fixture(scope="module")
def builder(lab: Lab) -> Iterator[Builder]:
    with lab.builder("main") as builder:
        yield builder


@pytest.fixture
def connection(lab: Lab, builder: Builder, tmp_path: Path) -> Callable[[str], list[str]]:
    """Write down a fleet's client certificate, and return arguments of `buildctl` to show it to a builder of main."""

    def connection(fleet: str) -> list[str]:
        # The attacker trusts whom it attacks.
        trusted = lab.deployment.client_certificate("main")["ca.crt"]
        for name, text in {**lab.deployment.client_certificate(fleet), "ca.crt": trusted}.items():
            (tmp_path / name).write_text(text)
        return [
            *("--timeout=3", f"--addr=tcp://{builder.endpoint}"),
            *(f"--tlsservername={lab.deployment.domain_name('main')}", f"--tlscacert={tmp_path / 'ca.crt'}"),
            *(f"--tlscert={tmp_path / 'tls.crt'}", f"--tlskey={tmp_path / 'tls.key'}"),
        ]

    return connection


@pytest.mark.parametrize(
    ("fleet", "accepted"),
    [("main", True), ("pull-requests", False)],
    ids=["main's own is accepted", "that of pull requests is refused"],
)
def test_mains_builders_let_in_clients_by_their_certificate(
    connection: Callable[[str], list[str]], fleet: str, *, accepted: bool
) -> None:
    command = ["buildctl", *connection(fleet), "debug", "workers"]

    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (said.returncode == 0) == accepted
    assert ("PLATFORMS" in said.stdout) == accepted


def test_a_pull_requests_certificate_is_refused_for_who_signed_it(
    connection: Callable[[str], list[str]], builder: Builder, tmp_path: Path
) -> None:
    connection("pull-requests")

    with pytest.raises(ssl.SSLError, match="unknown ca"):
        speak_tls(*builder.endpoint.split(":"), str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


# A poisoned layer.


def test_main_takes_nothing_of_a_poisoned_layer(lab: Lab, build: Build) -> None:
    name = cache_name("tiers", "poisoned")
    theirs, ours = cache_options(PULL_REQUESTS, name), cache_options(MAIN, name)
    before = objects(lab, MAIN)
    assert build("pull-requests", theirs, word="poison").built == "poison"
    assert objects(lab, MAIN) == before
    # The very same build, without the word: on a builder of pull requests the layer does its work.
    assert build("pull-requests", theirs).built == "poison"

    first, second = build("main", ours), build("main", ours)

    assert (first.built, first.cached_steps) == ("clean", 0)
    assert (second.built, second.cached_steps) == ("clean", second.steps)
    assert [each.key for each in first.answered + second.answered if not each.key.startswith(MAIN.prefix)] == []


@pytest.mark.usefixtures("_cache_of_main")
def test_main_keeps_its_own_layer_when_a_poisoned_one_comes_later(lab: Lab, build: Build) -> None:
    before = objects(lab, MAIN)
    build("pull-requests", cache_options(MAIN, NAME), word="poison")
    assert objects(lab, MAIN) == before

    again = build("main", cache_options(MAIN, NAME))

    assert (again.built, again.cached_steps) == ("clean", again.steps)


# Reading another scope, by opt-in.


@pytest.fixture(scope="module")
def opt_in(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A second deployment in the same account. No fleet's name is one of the first."""
    directory = tmp_path_factory.mktemp("opt-in")
    (directory / "builders.toml").write_text(OPT_IN)
    other = copy.copy(lab)
    other.deployment = lab.new_deployment(directory, config=directory / "builders.toml", name="opt-in")
    other.deployment.deploy()
    return other


RELEASE = CacheScope("release")
REVIEW = CacheScope("review")


@pytest.fixture(scope="module")
def released(opt_in: Lab, build: Build) -> Outcome:
    return build("release", cache_options(RELEASE, NAME), on=opt_in)


def test_a_fleet_imports_from_a_scope_it_may_read_and_uploads_its_layers_again(
    opt_in: Lab, released: Outcome, build: Build
) -> None:
    before = objects(opt_in, RELEASE)

    read = build("review", cache_options(REVIEW, NAME, read_scopes=[RELEASE]), on=opt_in)

    uploaded, again = written(released, RELEASE), written(read, REVIEW)
    assert read.cached_steps == read.steps > 0
    assert LAYER_BYTES < again <= uploaded * 1.1
    assert read.denied == []
    assert objects(opt_in, RELEASE) == before


@pytest.mark.usefixtures("released")
def test_a_fleet_cannot_write_the_scope_that_it_may_read(opt_in: Lab, build: Build) -> None:
    before = objects(opt_in, RELEASE)

    attempt = build("review", cache_options(RELEASE, NAME), word="poison", on=opt_in)

    assert "s3:PutObject" in attempt.denied
    assert objects(opt_in, RELEASE) == before


def test_a_fleet_that_reads_what_pull_requests_write_would_take_the_poison(opt_in: Lab, build: Build) -> None:
    name = cache_name("tiers", "careless")
    build("review", cache_options(REVIEW, name), word="poison", on=opt_in)

    taken = build("careless", cache_options(CacheScope("careless"), name, read_scopes=[REVIEW]), on=opt_in)

    assert taken.built == "poison"


def written(outcome: Outcome, scope: CacheScope) -> int:
    """The bytes that a build wrote into a scope."""
    return sum(each.bytes_in for each in outcome.answered if each.method == "PUT" and each.key.startswith(scope.prefix))
