"""Starts the emulated account in a process of its own, and controls it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.emulator.aws import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY, REGION
from local.emulator.control_client import EmulatorError, ask
from local.emulator.request_log import RequestLog

__all__ = ["Emulator", "EmulatorError"]

_REPOSITORY = Path(__file__).resolve().parents[2]


class Emulator:
    """An emulated account that lives as long as the `with` block.

    Args:
        log: The file for requests to S3, denials and failures, begun anew; `self.log` reads it. What the emulator
            says besides goes to a file beside it, with the suffix `.stderr`, and what functions print to a directory
            beside it, with the suffix `.functions`; `function_log` has the names.
        bind: `127.0.0.1`, or `0.0.0.0` to let in builders from other network namespaces.
        port: Default: a free one.
        enforce_iam: Whether policies count from the start, for the deployment itself too.
        authority_file: Certificates, in PEM, of the authorities that functions trust in place of the machine's.
            Default: they trust the machine's.
    """

    def __init__(
        self,
        log: Path,
        *,
        bind: str = "127.0.0.1",
        port: int = 0,
        enforce_iam: bool = True,
        authority_file: Path | None = None,
    ) -> None:
        self.log = RequestLog(log)
        log.unlink(missing_ok=True)
        self._errors = log.with_suffix(".stderr")
        self._functions = log.with_suffix(".functions").resolve()
        shutil.rmtree(self._functions, ignore_errors=True)
        self._functions.mkdir(parents=True)
        arguments = ["--bind", bind, "--port", str(port), "--log", str(log.resolve()), "--end-with-stdin"]
        arguments += ["--functions", str(self._functions)]
        arguments += ["--authorities", str(authority_file.resolve())] if authority_file else []
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.emulator", *arguments, *(["--enforce-iam"] if enforce_iam else [])],
                cwd=_REPOSITORY,
                # Whatever AWS settings the caller has are not for this account.
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        try:
            self.port: int = json.loads(self._process.stdout.readline())["port"]
        except ValueError:
            self.close()
            raise EmulatorError(f"the emulator did not start: {self._errors.read_text()[-2000:]}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the emulator, and with it the account."""
        with self._process:  # closes its pipes
            self._process.kill()

    @property
    def endpoint_url(self) -> str:
        """Where the CDK command line and boto3 reach it: by name, an address breaks CDK's uploads."""
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which an AWS client is the account's operator, and asks nobody else."""
        return {
            "AWS_ACCESS_KEY_ID": OPERATOR_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": OPERATOR_SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    def enforce_iam(self, *, enforce: bool = True) -> None:
        """Let policies count from now on, or no longer. The operator may do everything but what a bucket denies."""
        self._control("enforcement", {"enforce": enforce})

    def instance_credentials(self, instance_profile: str) -> dict[str, str]:
        """Return new credentials of an instance profile's role, in the words of the instance metadata service.

        Keys: `AccessKeyId`, `SecretAccessKey`, `Token`, `Expiration`, `RoleName` and the service's others.

        Raises:
            EmulatorError: There is no such profile, or its role does not trust EC2.
        """
        credentials: dict[str, str] = self._control("instance-credentials", {"instance_profile": instance_profile})
        return credentials

    def pod_credentials(self, namespace: str, service_account: str) -> dict[str, str]:
        """Return new credentials of the role that a service account is associated with, as Pod Identity gives them.

        Keys: as `instance_credentials` has them.

        Raises:
            EmulatorError: It has no role, or the role does not trust EKS.
        """
        given = {"namespace": namespace, "service_account": service_account}
        credentials: dict[str, str] = self._control("pod-credentials", given)
        return credentials

    def kubernetes(self) -> list[Mapping[str, Any]]:
        """Return what clusters were told: `type_name`, `properties` and `attributes` of each resource."""
        return list(self._control("kubernetes", {})["records"].values())

    def fire_rule(self, rule: str) -> list[Any]:
        """Let a rule's time come, and return what the functions return that are its targets.

        Args:
            rule: Its name.

        Raises:
            EmulatorError: There is no such rule, a function fails, or its policy does not let EventBridge invoke it.
        """
        returned: list[Any] = self._control("fire-rule", {"rule": rule})["returned"]
        return returned

    def function_log(self, function_name: str) -> Path:
        """Return the file that has what a function prints, from its first invocation on."""
        return self._functions / f"{function_name}.log"

    def set_last_modified(self, bucket: str, prefix: str, last_modified: datetime) -> list[str]:
        """Let all objects below a prefix be as old as given, and return their keys.

        Args:
            bucket: The bucket's name.
            prefix: A key, or what keys begin with.
            last_modified: In UTC.

        Raises:
            EmulatorError: There is no such bucket.
        """
        given = {"bucket": bucket, "prefix": prefix, "last_modified": last_modified.isoformat()}
        keys: list[str] = self._control("last-modified", given)["changed"]
        return keys

    def _control(self, operation: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return ask(f"http://127.0.0.1:{self.port}", operation, given)
