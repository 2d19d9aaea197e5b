"""The function that issues certificates, against an emulated Secrets Manager and CloudFormation."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from moto import mock_aws

from cdk_buildkit.handlers.certificates.authority import CLIENT, SERVER, Authority
from cdk_buildkit.handlers.certificates.index import handler
from cdk_buildkit.handlers.certificates.secret_store import SecretStore, StoreError, Trust

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DOMAIN_NAME = "main.buildkit.internal"
DAY_SECONDS = 86400
RENEW = {"action": "renew"}
REVOKE = {"action": "revoke"}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator["SecretsManagerClient"]:
    """Secrets Manager with the three secrets as CloudFormation makes them, without a value."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        client = boto3.client("secretsmanager")
        for name in ("AUTHORITY", "SERVER", "CLIENT"):
            monkeypatch.setenv(f"{name}_SECRET", client.create_secret(Name=name)["ARN"])
        settings = {"DOMAIN_NAME": DOMAIN_NAME, "GENERATION": "1", "LOG_GROUP": "issuer"}
        lives = {"SERVER_LIFE_SECONDS": str(90 * DAY_SECONDS), "CLIENT_LIFE_SECONDS": str(30 * DAY_SECONDS)}
        for key, value in (settings | lives).items():
            monkeypatch.setenv(key, value)
        yield client


@pytest.fixture
def cloudformation(secrets: "SecretsManagerClient") -> Iterator[Callable[..., dict[str, Any]]]:
    """Send the function requests as CloudFormation does, and return what it answers."""
    assert secrets
    answers: list[dict[str, Any]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            assert self.headers["Content-Type"] == ""
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def send(kind: str, **more: str) -> dict[str, Any]:
        handler(
            {
                "RequestType": kind,
                "ResponseURL": f"http://127.0.0.1:{server.server_port}/",
                "StackId": "stack",
                "RequestId": "request",
                "LogicalResourceId": "Issued",
                **more,
            },
            None,
        )
        return answers.pop()

    yield send
    server.shutdown()
    thread.join()
    server.server_close()


def value(secrets: "SecretsManagerClient", name: str) -> Any:  # noqa: ANN401 - a JSON document
    return json.loads(secrets.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])


def values(secrets: "SecretsManagerClient") -> list[Any]:
    return [value(secrets, name) for name in ("AUTHORITY", "SERVER", "CLIENT")]


def spoil_authority(secrets: "SecretsManagerClient", content: str) -> None:
    # By its label: the emulator forgets, at a put, that the label was moved before.
    current = secrets.get_secret_value(SecretId="AUTHORITY", VersionStage="AWSCURRENT")["VersionId"]
    spoilt = secrets.put_secret_value(SecretId="AUTHORITY", SecretString=content, VersionStages=["SPOILT"])["VersionId"]
    secrets.update_secret_version_stage(
        SecretId="AUTHORITY", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=spoilt
    )


def certificate(secrets: "SecretsManagerClient", name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(value(secrets, name)["tls.crt"].encode())


def test_the_first_deployment_issues_a_server_and_a_client_certificate(
    cloudformation: Callable[..., dict[str, Any]], secrets: "SecretsManagerClient"
) -> None:
    answer = cloudformation("Create")

    assert answer == {
        "Status": "SUCCESS",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Issued",
        "PhysicalResourceId": secrets.describe_secret(SecretId="AUTHORITY")["ARN"],
        "Data": {"Revision": f"1-{90 * DAY_SECONDS}-{DOMAIN_NAME}"},
    }
    for name, use, life in (
        ("SERVER", ExtendedKeyUsageOID.SERVER_AUTH, 90),
        ("CLIENT", ExtendedKeyUsageOID.CLIENT_AUTH, 30),
    ):
        issued = certificate(secrets, name)
        assert list(issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
        assert (issued.not_valid_after_utc - issued.not_valid_before_utc).days == life
    names = certificate(secrets, "SERVER").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [DOMAIN_NAME]


def test_builders_and_clients_get_what_they_read_and_no_authoritys_key(secrets: "SecretsManagerClient") -> None:
    handler(RENEW, None)

    (authority,) = value(secrets, "AUTHORITY")["authorities"]
    for name in ("SERVER", "CLIENT"):
        given = value(secrets, name)
        assert set(given) == {"ca.crt", "tls.crt", "tls.key"}
        assert given["ca.crt"] == authority["certificate"]
        assert given["tls.key"].count("PRIVATE KEY") == 2
        assert authority["key"] not in json.dumps(given)
        key = serialization.load_pem_private_key(given["tls.key"].encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert key.public_key() == certificate(secrets, name).public_key()
    assert value(secrets, "SERVER")["tls.key"] != value(secrets, "CLIENT")["tls.key"]


def test_nothing_changes_until_something_is_due(
    cloudformation: Callable[..., dict[str, Any]], secrets: "SecretsManagerClient"
) -> None:
    cloudformation("Create")
    before = values(secrets)

    assert cloudformation("Update", PhysicalResourceId="before")["Status"] == "SUCCESS"
    assert handler(RENEW, None) == {"done": []}
    assert cloudformation("Delete", PhysicalResourceId="before")["Status"] == "SUCCESS"

    assert values(secrets) == before


def test_another_domain_name_takes_another_certificate_of_the_same_authority(
    monkeypatch: pytest.MonkeyPatch, secrets: "SecretsManagerClient"
) -> None:
    handler(RENEW, None)
    before = value(secrets, "AUTHORITY")
    monkeypatch.setenv("DOMAIN_NAME", "other.buildkit.internal")

    handler(RENEW, None)

    names = certificate(secrets, "SERVER").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["other.buildkit.internal"]
    assert value(secrets, "AUTHORITY") == before


@pytest.mark.parametrize("spoilt", ["", "{}", "[]", '{"ca.crt": "", "tls.crt": "", "tls.key": ""}'])
def test_a_spoilt_certificate_is_issued_again(secrets: "SecretsManagerClient", spoilt: str) -> None:
    handler(RENEW, None)
    good = value(secrets, "CLIENT")
    secrets.put_secret_value(SecretId="SERVER", SecretString=spoilt or "spoilt")

    handler(RENEW, None)

    assert value(secrets, "SERVER")["ca.crt"] == good["ca.crt"]
    assert value(secrets, "CLIENT") == good


def test_a_certificate_that_somebody_else_put_there_is_issued_again(secrets: "SecretsManagerClient") -> None:
    handler(RENEW, None)
    (mine,) = value(secrets, "AUTHORITY")["authorities"]
    given = value(secrets, "SERVER")
    issuer = Authority(certificate=mine["certificate"], key=mine["key"])
    now, life = datetime.now(UTC), timedelta(days=90)
    strangers = {
        "self-signed": Authority.create(now, life),
        "of another authority": Authority.create(now, life).issue(SERVER, DOMAIN_NAME, now=now, life=life),
        "for another use": issuer.issue(CLIENT, DOMAIN_NAME, now=now, life=life),
        "for another name": issuer.issue(SERVER, "other.internal", now=now, life=life),
        "the authority itself": issuer,
    }

    for stranger in strangers.values():
        content = given | {"tls.crt": stranger.certificate, "tls.key": stranger.key}
        secrets.put_secret_value(SecretId="SERVER", SecretString=json.dumps(content))
        assert handler(RENEW, None) != {"done": []}

        assert certificate(secrets, "SERVER") != x509.load_pem_x509_certificate(stranger.certificate.encode())


def test_a_raised_generation_revokes_once_and_a_roll_back_does_not_again(
    monkeypatch: pytest.MonkeyPatch, cloudformation: Callable[..., dict[str, Any]], secrets: "SecretsManagerClient"
) -> None:
    cloudformation("Create")
    before = values(secrets)
    monkeypatch.setenv("GENERATION", "2")

    answer = cloudformation("Update", PhysicalResourceId="same")
    revoked = values(secrets)
    monkeypatch.setenv("GENERATION", "1")
    cloudformation("Update", PhysicalResourceId="same")
    monkeypatch.setenv("GENERATION", "2")
    cloudformation("Update", PhysicalResourceId="same")

    assert answer["Data"]["Revision"].startswith("2-")
    assert len(revoked[0]["authorities"]) == 1
    assert before[0]["authorities"][0]["certificate"] not in json.dumps(revoked)
    assert values(secrets) == revoked


def test_an_operator_revokes_at_once_and_the_next_deployment_does_not_again(
    cloudformation: Callable[..., dict[str, Any]], secrets: "SecretsManagerClient"
) -> None:
    cloudformation("Create")
    before = values(secrets)

    done = handler(REVOKE, None)
    revoked = values(secrets)
    cloudformation("Update", PhysicalResourceId="same")

    assert done
    assert done["done"][:2] == ["revoked every former certificate", "made a certificate authority"]
    assert before[0]["authorities"][0]["certificate"] not in json.dumps(revoked)
    assert values(secrets) == revoked


def test_every_call_says_how_long_the_certificates_are_still_valid(
    secrets: "SecretsManagerClient", capsys: pytest.CaptureFixture[str]
) -> None:
    handler(RENEW, None)

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    left = {each["certificate"]: each["days_left"] for each in said if each.get("event") == "certificate"}
    assert {each["fleet"] for each in said if each.get("event") == "certificate"} == {DOMAIN_NAME}
    for name, days in left.items():
        expires = certificate(secrets, name.upper()).not_valid_after_utc
        assert days == pytest.approx((expires - datetime.now(UTC)) / timedelta(days=1), abs=0.02)
    assert set(left) == {"server", "client"}


def test_a_failed_request_is_said_in_the_log_where_a_metric_filter_finds_it(
    cloudformation: Callable[..., dict[str, Any]],
    secrets: "SecretsManagerClient",
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "issuer")
    secrets.put_secret_value(SecretId="AUTHORITY", SecretString="{}")

    cloudformation("Update", PhysicalResourceId="same")

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (failure,) = (each for each in said if each.get("event") == "request_failed")
    assert failure["function"] == "issuer"
    assert failure["reason"].startswith("UnreadableTrustError: ")


def test_an_authority_that_cannot_be_read_fails_the_deployment_and_is_mended_by_revoking(
    cloudformation: Callable[..., dict[str, Any]], secrets: "SecretsManagerClient"
) -> None:
    secrets.put_secret_value(SecretId="AUTHORITY", SecretString='{"authorities": [{"key": "PRIVATE KEY"}]}')

    answer = cloudformation("Update", PhysicalResourceId="same")

    assert answer["Status"] == "FAILED"
    assert answer["PhysicalResourceId"] == "same"
    assert re.fullmatch(
        "UnreadableTrustError: the secret arn:[^ ]+ holds no certificate authority of this function: make a new one "
        r"with the action revoke, and replace the builders \(details: log group issuer\)",
        answer["Reason"],
    )
    assert handler(REVOKE, None)
    assert handler(RENEW, None) == {"done": []}


def test_of_two_calls_that_change_the_authority_at_once_the_later_one_gives_up(
    secrets: "SecretsManagerClient",
) -> None:
    arn = secrets.describe_secret(SecretId="AUTHORITY")["ARN"]
    handler(RENEW, None)
    store = SecretStore(secrets, arn)
    read = store.read_trust()
    assert read
    handler(REVOKE, None)
    before = value(secrets, "AUTHORITY")

    with pytest.raises(StoreError, match="another call has changed the certificate authorities meanwhile: call again"):
        store.write_trust(Trust(authorities=read.authorities, generation=9, version=read.version))

    assert value(secrets, "AUTHORITY") == before


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ValueError, match="an action is one of renew, revoke; got 'rotate': call with"):
        handler({"action": "rotate"}, None)


def test_an_answer_that_does_not_arrive_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, secrets: "SecretsManagerClient"
) -> None:
    assert secrets
    waits: list[float] = []
    monkeypatch.setattr("cdk_buildkit.handlers.custom_resource.time.sleep", waits.append)

    with pytest.raises(OSError, match="refused"):
        handler(
            {
                "RequestType": "Create",
                "ResponseURL": "http://127.0.0.1:1/",
                "StackId": "stack",
                "RequestId": "request",
                "LogicalResourceId": "Issued",
            },
            None,
        )

    assert waits == [2, 4, 8]


def test_no_key_is_logged_or_raised(
    cloudformation: Callable[..., dict[str, Any]],
    secrets: "SecretsManagerClient",
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = [cloudformation("Create"), handler(RENEW, None), handler(REVOKE, None)]
    held = values(secrets)
    secrets.put_secret_value(SecretId="SERVER", SecretString=json.dumps(held[0]))
    said.append(cloudformation("Update"))
    spoil_authority(secrets, json.dumps(held[1]))
    said.append(cloudformation("Update"))
    trust = Trust(
        authorities=(Authority(**{key: held[0]["authorities"][0][key] for key in ("certificate", "key")}),),
        generation=1,
    )

    output = capfd.readouterr()

    assert "UnreadableTrustError" in output.err
    assert '{"action": "revoke", "done": ["revoked every former' in output.out
    for text in (output.out, output.err, json.dumps(said), repr(trust)):
        assert "PRIVATE KEY" not in text
        assert not any(line in text for line in held[1]["tls.key"].splitlines()[1:-1])
