"""The tool's calls to AWS: what each refusal becomes, and that no secret is in its words."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, EndpointConnectionError, NoCredentialsError

from buildkit_ops.account import Account
from buildkit_ops.failures import (
    AWS_FAILED,
    AWS_UNREACHED,
    CREDENTIALS_REFUSED,
    FUNCTION_FAILED,
    NO_CERTIFICATE,
    NO_CREDENTIALS,
    NO_REGION,
    NO_STACK,
    NOT_ALLOWED,
    Failure,
    ToolError,
)

KEY = "-----BEGIN PRIVATE KEY-----"
CERTIFICATE = {"ca.crt": "authority", "tls.crt": "certificate", "tls.key": KEY}


class Service:
    """A client of any service: every call of it has one outcome."""

    def __init__(self, outcome: object) -> None:
        self._outcome = outcome

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        def call(**_: object) -> Any:  # noqa: ANN401 - as boto3 answers
            if isinstance(self._outcome, Exception):
                raise self._outcome
            return self._outcome

        return call


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Account]:
    """Make an account whose every call has a given outcome."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    def account(outcome: object) -> Account:
        made = Account()
        monkeypatch.setattr(made, "_client", lambda _: Service(outcome))
        return made

    return account


def refusal(code: str, message: str = "words of AWS") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def invoke(account: Account) -> dict[str, Any]:
    return account.invoke("waker", {}, what="wake the fleet", grant="grant_wake")


@pytest.mark.parametrize(
    ("outcome", "failure", "words"),
    [
        (NoCredentialsError(), NO_CREDENTIALS, "Unable to locate credentials"),
        (CredentialRetrievalError(provider="p", error_msg="no token"), NO_CREDENTIALS, "from p: no token; log in"),
        (refusal("ExpiredToken"), CREDENTIALS_REFUSED, "words of AWS; log in again"),
        (refusal("UnrecognizedClientException"), CREDENTIALS_REFUSED, "set the clock right"),
        (refusal("AccessDenied"), NOT_ALLOWED, "call grant_wake for their role"),
        (refusal("AccessDeniedException"), NOT_ALLOWED, "may not wake the fleet: words of AWS"),
        (EndpointConnectionError(endpoint_url="https://x"), AWS_UNREACHED, "did not answer in eu-west-1"),
        (refusal("ThrottlingException"), AWS_FAILED, "could not wake the fleet in eu-west-1: words of AWS"),
        (
            {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "locked"}')},
            FUNCTION_FAILED,
            "the function waker failed: locked",
        ),
    ],
    ids=["none", "process", "expired", "unknown", "denied", "denied otherwise", "unreached", "throttled", "raised"],
)
def test_what_keeps_a_function_from_answering_is_said(
    account: Callable[[object], Account], outcome: object, failure: Failure, words: str
) -> None:
    with pytest.raises(ToolError) as raised:
        invoke(account(outcome))

    assert raised.value.failure is failure
    assert words in str(raised.value)


def test_a_functions_answer_is_returned(account: Callable[[object], Account]) -> None:
    assert invoke(account({"Payload": io.BytesIO(b'{"choice": null}')})) == {"choice": None}


def test_a_stack_that_is_not_there_is_told_from_one_that_may_not_be_seen(account: Callable[[object], Account]) -> None:
    gone = refusal("ValidationError", "Stack with id fleet does not exist")

    for outcome, failure in ((gone, NO_STACK), (refusal("AccessDenied"), NOT_ALLOWED), (refusal("X"), AWS_FAILED)):
        with pytest.raises(ToolError) as raised:
            account(outcome).stack_outputs("fleet")

        assert raised.value.failure is failure


def test_a_stacks_outputs_are_returned_by_name(account: Callable[[object], Account]) -> None:
    described = {"Stacks": [{"Outputs": [{"OutputKey": "WriteScope", "OutputValue": "main"}]}]}

    assert account(described).stack_outputs("fleet") == {"WriteScope": "main"}
    assert account({"Stacks": [{}]}).stack_outputs("fleet") == {}


def test_the_certificate_is_the_three_files_of_the_secret(account: Callable[[object], Account]) -> None:
    answer = {"SecretString": json.dumps(CERTIFICATE | {"more": "1"})}

    assert account(answer).client_certificate("secret") == CERTIFICATE


@pytest.mark.parametrize(
    "outcome",
    [
        {"SecretString": json.dumps({"tls.key": KEY})},
        {"SecretString": f"not JSON {KEY}"},
        {"SecretBinary": KEY.encode()},
        {"SecretString": json.dumps([KEY])},
        {"SecretString": json.dumps({"ca.crt": "a", "tls.crt": "b", "other": KEY})},
        refusal("ResourceNotFoundException"),
    ],
    ids=["a part", "no JSON", "no text", "no object", "another part", "no version"],
)
def test_a_secret_without_a_certificate_is_refused_and_not_shown(
    account: Callable[[object], Account], outcome: object
) -> None:
    with pytest.raises(ToolError) as raised:
        account(outcome).client_certificate("arn:secret")

    assert raised.value.failure is NO_CERTIFICATE
    assert str(raised.value).startswith("the secret arn:secret holds no client certificate")
    assert KEY not in str(raised.value)


def test_a_secret_that_may_not_be_read_names_the_grant(account: Callable[[object], Account]) -> None:
    with pytest.raises(ToolError, match="may not read the client certificate: words of AWS; call grant_connect"):
        account(refusal("AccessDeniedException")).client_certificate("secret")


def test_without_a_region_or_with_an_unknown_profile_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")

    with pytest.raises(ToolError) as no_region:
        Account()
    with pytest.raises(ToolError, match=r"no AWS credentials were found .* \(nobody\)") as no_profile:
        Account(profile="nobody")

    assert no_region.value.failure is NO_REGION
    assert no_profile.value.failure is NO_CREDENTIALS


@pytest.mark.parametrize(
    ("outcome", "found"),
    [({"imageDetails": [{}]}, {"a", "b"}), (refusal("ImageNotFoundException"), set())],
    ids=["all", "none"],
)
def test_the_tags_that_a_repository_has_are_found(
    account: Callable[[object], Account], outcome: object, found: set[str]
) -> None:
    assert account(outcome).tags_of("app", "111122223333", ["a", "b"]) == found


def test_a_repository_that_is_not_there_is_no_empty_one(account: Callable[[object], Account]) -> None:
    with pytest.raises(ToolError, match="could not look into the repository app in eu-west-1"):
        account(refusal("RepositoryNotFoundException")).tags_of("app", "111122223333", ["a"])


def test_the_environments_region_is_taken_as_other_clients_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert Account().region == "eu-central-1"

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Account().region == "eu-west-1"
    assert Account(region="us-east-1").region == "us-east-1"
