"""The calls to AWS of the tool `cdk-buildkit`, with the caller's own credentials, which stay on this machine."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

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
    ToolError,
)

_CERTIFICATE_FILES = {"ca.crt", "tls.crt", "tls.key"}
_REFUSED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException"}
_CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})


class Account:
    """An account, in one region.

    Args:
        region: Default: the one of the environment or the profile.
        profile: Default: the environment's.

    Raises:
        ToolError: The profile does not exist, or no region is set.
    """

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        try:
            # Every other client of AWS reads AWS_REGION; boto3 reads AWS_DEFAULT_REGION alone.
            region = region or os.environ.get("AWS_REGION") or None
            self._session = boto3.Session(region_name=region, profile_name=profile)
        except ProfileNotFound as error:
            raise ToolError(NO_CREDENTIALS, reason=_words(error)) from None
        if not self._session.region_name:
            raise ToolError(NO_REGION)
        self.region: str = self._session.region_name
        self.profile = profile

    def stack_outputs(self, stack: str) -> dict[str, str]:
        """Return the outputs of a stack.

        Raises:
            ToolError: There is none, or AWS did not say.
        """
        try:
            with self._asking("describe the stack", "grant_connect"):
                (described,) = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                raise ToolError(NO_STACK, stack=stack, region=self.region) from None
            raise self._failed("describe the stack", error) from None
        return {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}

    def client_certificate(self, secret: str) -> dict[str, str]:
        """Return the PEM texts `ca.crt`, `tls.crt` and `tls.key`.

        Raises:
            ToolError: The secret has none, or AWS did not say.
        """
        what = "read the client certificate"
        try:
            with self._asking(what, "grant_connect"):
                text = self._client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
            value = json.loads(text)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise self._failed(what, error) from None
            value = None
        except (KeyError, ValueError):
            value = None
        if not isinstance(value, dict) or not set(value) >= _CERTIFICATE_FILES:
            raise ToolError(NO_CERTIFICATE, secret=secret)
        return {name: str(value[name]) for name in sorted(_CERTIFICATE_FILES)}

    def invoke(self, function: str, event: Mapping[str, Any], *, what: str, grant: str) -> dict[str, Any]:
        """Call a function of the fleet.

        Args:
            function: Its name.
            event: What it is given.
            what: What it is called for, in words that follow "may not" and "could not".
            grant: What lets a role call it.

        Raises:
            ToolError: It failed, or AWS did not call it.
        """
        try:
            with self._asking(what, grant):
                answer = self._client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        except ClientError as error:
            raise self._failed(what, error) from None
        value = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise ToolError(FUNCTION_FAILED, function=function, reason=value.get("errorMessage", value))
        return dict(value)

    def start_session(self, asked: Mapping[str, Any]) -> dict[str, str] | None:
        """Start a session of Session Manager, and return its `SessionId`, `TokenValue`, `StreamUrl` and `Endpoint`.

        None: the instance's agent is not connected, or not yet.

        Raises:
            ToolError: AWS did not start it.
        """
        what, client = f"forward a port to {asked['Target']}", self._client("ssm")
        try:
            with self._asking(what, "grant_session"):
                answer = client.start_session(**asked)
        except ClientError as error:
            if error.response["Error"]["Code"] == "TargetNotConnected":
                return None
            raise self._failed(what, error) from None
        names = ("SessionId", "TokenValue", "StreamUrl")
        return {**{name: answer[name] for name in names}, "Endpoint": client.meta.endpoint_url}

    def end_session(self, session: str) -> None:
        """End a session.

        Raises:
            ToolError: AWS did not.
        """
        what = f"end the session {session}"
        try:
            with self._asking(what, "grant_session"):
                self._client("ssm").terminate_session(SessionId=session)
        except ClientError as error:
            raise self._failed(what, error) from None

    def tags_of(self, repository: str, registry: str, tags: Sequence[str]) -> set[str]:
        """Return those of some tags that a repository of ECR has.

        Raises:
            ToolError: There is no such repository, or AWS did not say.
        """
        what = f"look into the repository {repository}"
        found = set()
        for tag in tags:
            try:
                with self._asking(what, "the repository's grant_pull_push"):
                    self._client("ecr").describe_images(
                        registryId=registry, repositoryName=repository, imageIds=[{"imageTag": tag}]
                    )
                    found.add(tag)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ImageNotFoundException":
                    raise self._failed(what, error) from None
        return found

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes it at run time
        make: Any = self._session.client
        return make(service, config=_CONFIG)

    @contextmanager
    def _asking(self, what: str, grant: str) -> Iterator[None]:
        """Say in the tool's words what keeps any call from its answer; other refusals are the caller's."""
        try:
            yield
        except (CredentialRetrievalError, NoCredentialsError) as error:
            raise ToolError(NO_CREDENTIALS, reason=_words(error)) from None
        except NoRegionError:
            raise ToolError(NO_REGION) from None
        except BotoCoreError as error:
            raise ToolError(AWS_UNREACHED, region=self.region, reason=_words(error)) from None
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _REFUSED:
                raise ToolError(CREDENTIALS_REFUSED, reason=_message(error)) from None
            if code in _DENIED:
                raise ToolError(NOT_ALLOWED, what=what, reason=_message(error), grant=grant) from None
            raise

    def _failed(self, what: str, error: ClientError) -> ToolError:
        return ToolError(AWS_FAILED, what=what, region=self.region, reason=_message(error))


def _message(error: ClientError) -> str:
    return error.response["Error"].get("Message", "") or error.response["Error"]["Code"]


def _words(error: BotoCoreError) -> str:
    return str(error).rstrip(".")
