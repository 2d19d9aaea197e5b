"""BuilderCertificates, deployed by the real command line tool to an emulated account that runs its function."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography import x509

from local.emulator.aws import ACCOUNT, REGION, Aws
from local.emulator.process import Emulator
from local.emulator.read_back import ReadBack, read_back

STACK = "certificates"


class Account:
    """An emulated account, and the stack of `apps/certificates.py` in it."""

    def __init__(self, emulator: Emulator, root: Path, assembly: Path) -> None:
        self.emulator = emulator
        self.client = Aws(emulator.endpoint_url).client
        self._root = root
        self._assembly = assembly

    def cdk(self, *arguments: str, domain: str = "main.buildkit.internal", server_life: int = 90) -> str:
        """Run the command line tool, and return what it says."""
        programs = Path(sys.executable).parent
        completed = subprocess.run(
            [
                *(str(programs / "cdk"), *arguments, "--app", f"{sys.executable} tests/apps/certificates.py"),
                *(f"--context=domain={domain}", f"--context=server_life={server_life}", "--no-notices", "--ci"),
                f"--output={self._assembly}",
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

    def deploy(self, domain: str = "main.buildkit.internal", server_life: int = 90) -> str:
        """Deploy while policies count for functions alone, as nothing else is deployed here."""
        self.emulator.enforce_iam(enforce=False)
        try:
            said = self.cdk("deploy", "--require-approval=never", domain=domain, server_life=server_life)
        finally:
            self.emulator.enforce_iam()
        return said

    def read_back(self) -> ReadBack:
        return read_back(self.emulator.endpoint_url, self._assembly)

    def id_of(self, type_name: str, name: str) -> str:
        """Return a resource's physical id, given its type and what its logical id begins with."""
        resources = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        (physical_id,) = (
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == type_name and each["LogicalResourceId"].startswith(name)
        )
        return str(physical_id)

    def secret(self, name: str) -> str:
        return self.id_of("AWS::SecretsManager::Secret", f"Certificates{name}")

    def value(self, name: str) -> dict[str, str]:
        value: dict[str, str] = json.loads(
            self.client("secretsmanager").get_secret_value(SecretId=self.secret(name))["SecretString"]
        )
        return value

    def server_names(self) -> list[str]:
        """Return the names that the builders' certificate is for."""
        certificate = x509.load_pem_x509_certificate(self.value("Server")["tls.crt"].encode())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)

    def invoke(self, action: str) -> Any:  # noqa: ANN401 - JSON
        issuer = self.id_of("AWS::Lambda::Function", "CertificatesIssuer")
        answer = self.client("lambda").invoke(FunctionName=issuer, Payload=json.dumps({"action": action}))
        return json.load(answer["Payload"])

    def as_builder(self) -> Any:  # noqa: ANN401 - boto3 makes it at run time
        """Return a client of Secrets Manager with the role that may serve."""
        credentials = self.emulator.instance_credentials(self.id_of("AWS::IAM::InstanceProfile", "Profile"))
        return boto3.client(
            "secretsmanager",
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["Token"],
            region_name=REGION,
            endpoint_url=self.emulator.endpoint_url,
        )


@pytest.fixture(scope="module")
def new_account(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Account]]:
    """Make accounts in which the stack is deployed."""
    emulators: list[Emulator] = []

    def new_account() -> Account:
        directory = tmp_path_factory.mktemp("account")
        emulators.append(Emulator(directory / "log", enforce_iam=False))
        account = Account(emulators[-1], root, directory / "cdk.out")
        assert account.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}").startswith("exit code 0\n")
        said = account.deploy()
        assert said.startswith("exit code 0\n"), said
        return account

    yield new_account
    for emulator in emulators:
        emulator.close()


@pytest.fixture(scope="module")
def account(new_account: Callable[[], Account]) -> Account:
    """Return an account for tests that change nothing."""
    return new_account()


def test_the_function_fills_the_secrets_of_builders_and_clients(account: Account) -> None:
    server, client = account.value("Server"), account.value("Client")

    assert server.keys() == client.keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert server["ca.crt"] == client["ca.crt"]
    assert account.server_names() == ["main.buildkit.internal"]


def test_all_of_it_reads_back_as_declared(account: Account) -> None:
    result = account.read_back()

    assert result.is_clean, (result.differences, result.unchecked)
    assert result.compared["AWS::CloudFormation::CustomResource"] == 1


@pytest.mark.parametrize("who", ["operator", "builder"])
def test_nobody_but_the_function_reads_or_changes_the_authoritys_key(account: Account, who: str) -> None:
    secrets = account.client("secretsmanager") if who == "operator" else account.as_builder()
    authority = account.secret("Authority")

    calls = {
        "get_secret_value": {},
        "put_secret_value": {"SecretString": "{}"},
        "update_secret_version_stage": {"VersionStage": "AWSCURRENT"},
    }
    for name, arguments in calls.items():
        with pytest.raises(ClientError) as denied:
            getattr(secrets, name)(SecretId=authority, **arguments)
        assert denied.value.response["Error"]["Code"] == "AccessDenied"


def test_a_builder_reads_the_servers_certificate_and_no_other(account: Account) -> None:
    secrets = account.as_builder()

    assert "SecretString" in secrets.get_secret_value(SecretId=account.secret("Server"))
    with pytest.raises(ClientError):
        secrets.get_secret_value(SecretId=account.secret("Client"))


def test_an_operator_and_the_daily_rule_can_renew(account: Account) -> None:
    rule = account.id_of("AWS::Events::Rule", "CertificatesDaily")

    assert account.invoke("renew") == {"done": []}
    assert account.emulator.fire_rule(rule) == [{"done": []}]


def test_another_deployment_updates_what_was_issued(new_account: Callable[[], Account]) -> None:
    account = new_account()
    bundle = account.value("Server")["ca.crt"]

    said = account.deploy(domain="other.buildkit.internal")

    assert said.startswith("exit code 0\n"), said
    assert account.server_names() == ["other.buildkit.internal"]
    assert account.value("Server")["ca.crt"] == bundle
    result = account.read_back()
    assert result.is_clean, (result.differences, result.unchecked)


def test_a_failing_function_fails_the_deployment_with_its_words_and_these_mend_it(
    new_account: Callable[[], Account],
) -> None:
    account = new_account()
    account.emulator.enforce_iam(enforce=False)
    account.client("secretsmanager").put_secret_value(SecretId=account.secret("Authority"), SecretString="{}")

    failed = account.deploy(server_life=60)
    mended = account.invoke("revoke")["done"]

    assert failed.startswith("exit code 1\n")
    assert "holds no certificate authority of this function: make a new one with the action revoke" in failed
    assert mended[:2] == ["revoked every former certificate", "made a certificate authority"]
    assert account.invoke("renew") == {"done": []}


def test_destroying_the_stack_leaves_no_secret(new_account: Callable[[], Account]) -> None:
    account = new_account()

    said = account.cdk("destroy", "--force")

    assert said.startswith("exit code 0\n"), said
    assert account.client("secretsmanager").list_secrets()["SecretList"] == []
