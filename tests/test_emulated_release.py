"""ReleaseBucket through its life: deployed, upgraded, rolled back and destroyed by the real command line tool."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from buildkit_ops.architecture import Architecture
from local.emulator.aws import ACCOUNT, REGION, Aws
from local.emulator.process import Emulator
from local.emulator.read_back import read_back
from local.https_server import HttpsServer
from tests.deployed_alarms import DeployedAlarms

FORMER, LATTER = "v1.0.0", "v1.1.0"


class Upstream(HttpsServer):
    """Serves an archive of each version and architecture."""

    def __init__(self, directory: Path) -> None:
        self._files = directory / "files"
        self._files.mkdir()
        for version in (FORMER, LATTER):
            for architecture in Architecture:
                self.archive(version, architecture).write_text(f"{version} for {architecture}")
        super().__init__(partial(Handler, directory=str(self._files)), directory)

    def archive(self, version: str, architecture: Architecture) -> Path:
        return self._files / f"{version}-{architecture.oci_name}"

    def sum(self, version: str, architecture: Architecture) -> str:
        return hashlib.sha256(self.archive(version, architecture).read_bytes()).hexdigest()


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Account:
    """An emulated account, and the stacks of `apps/release.py` in it."""

    def __init__(self, emulator: Emulator, upstream: Upstream, root: Path, assembly: Path) -> None:
        self.emulator = emulator
        self.client = Aws(emulator.endpoint_url).client
        self.assembly = assembly
        self._upstream = upstream
        self._root = root

    def cdk(self, *arguments: str, version: str = FORMER, sums_of: str | None = None) -> str:
        """Run the command line tool for a release's version, and return what it says."""
        programs = Path(sys.executable).parent
        context = {
            "version": version,
            "url": f"{self._upstream.url}/{{version}}-{{architecture}}",
            **{each.value: self._upstream.sum(sums_of or version, each) for each in Architecture},
        }
        completed = subprocess.run(
            [
                *(str(programs / "cdk"), *arguments, "--app", f"{sys.executable} tests/apps/release.py"),
                *(f"--context={key}={value}" for key, value in context.items()),
                *("--no-notices", "--ci", f"--output={self.assembly}"),
            ],
            cwd=self._root,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                **self.emulator.environment,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "CDK_VALIDATION": "false",
                "CDK_DISABLE_CLI_TELEMETRY": "true",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return f"exit code {completed.returncode}\n{completed.stdout}"

    def deploy(self, version: str, sums_of: str | None = None) -> str:
        return self.cdk("deploy", "--all", "--require-approval=never", version=version, sums_of=sums_of)

    def buckets(self) -> list[str]:
        """Return the buckets' names but for the bootstrap stack's."""
        names = [each["Name"] for each in self.client("s3").list_buckets()["Buckets"]]
        return [name for name in names if not name.startswith("cdk-")]

    def archives(self) -> dict[str, bytes]:
        """Return what the stack's bucket holds, by URI."""
        (bucket,) = self.buckets()
        s3 = self.client("s3")
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {f"s3://{bucket}/{key}": s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def uris(self) -> list[str]:
        """Return where builders are told to find the archives."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName="builders")["Stacks"]
        return [output["OutputValue"] for output in stack["Outputs"]]


@pytest.fixture
def account(root: Path, tmp_path: Path) -> Iterator[Account]:
    with (
        Upstream(tmp_path) as upstream,
        Emulator(tmp_path / "log", enforce_iam=False, authority_file=upstream.authority_file) as emulator,
    ):
        account = Account(emulator, upstream, root, tmp_path / "cdk.out")
        assert account.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}").startswith("exit code 0\n")
        yield account


def contents(version: str) -> set[bytes]:
    return {f"{version} for {each}".encode() for each in Architecture}


def test_a_release_is_deployed_upgraded_rolled_back_and_destroyed(account: Account) -> None:
    said = account.deploy(FORMER)
    assert said.startswith("exit code 0\n"), said
    result = read_back(account.emulator.endpoint_url, account.assembly)
    assert result.is_clean, (result.differences, result.unchecked)
    former = account.archives()
    assert {former[uri] for uri in account.uris()} == contents(FORMER)

    said = account.deploy(LATTER)
    assert said.startswith("exit code 0\n"), said
    both = account.archives()
    assert {both[uri] for uri in account.uris()} == contents(LATTER)
    assert former.items() < both.items()

    said = account.deploy(FORMER)
    assert said.startswith("exit code 0\n"), said
    assert set(account.uris()) == set(former)
    assert account.archives() == both

    said = account.cdk("destroy", "--all", "--force")
    assert said.startswith("exit code 0\n"), said
    assert account.buckets() == []


def test_a_wrong_sum_fails_the_deployment_and_leaves_what_was_there(account: Account) -> None:
    account.deploy(FORMER)
    before, uris = account.archives(), account.uris()
    alarms = DeployedAlarms(account.emulator.endpoint_url, "release")
    assert not alarms.sounds("CopyFailed")

    said = account.deploy(LATTER, sums_of=FORMER)

    assert alarms.sounds("CopyFailed")
    assert said.startswith("exit code 1\n")
    assert "WrongSumError" in said
    assert "correct the release's sha256, version or url" in " ".join(said.split())
    assert (account.archives(), account.uris()) == (before, uris)


def test_a_first_deployment_that_failed_can_be_destroyed(account: Account) -> None:
    failed = account.deploy(LATTER, sums_of=FORMER)

    said = account.cdk("destroy", "--all", "--force")

    assert failed.startswith("exit code 1\n")
    assert said.startswith("exit code 0\n"), said
    assert account.buckets() == []
