"""Runs invocations of functions, and keeps what they print."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from moto.awslambda.models import LambdaFunction

from local.emulator.aws import REGION
from local.emulator.errors import NotEmulatedError
from local.emulator.functions.code import RUNTIME_DISTRIBUTIONS, Code, link_distributions, unpack
from local.emulator.functions.configuration import logging_config
from local.emulator.functions.telemetry import report
from local.emulator.principals import function_credentials

_RUNTIME = Path(__file__).with_name("runtime.py")
_LOADING_SECONDS = 60
"""How long code may take to load. Lambda allows ten seconds; a loaded machine of many tests needs more."""

_LONGEST_LOG_TAIL = 4096


@dataclass(frozen=True)
class Outcome:
    """What came of an invocation.

    Args:
        payload: JSON: what the handler returned, or a description of its error.
        is_error: Whether it is an error.
        log: The end of what it printed.
    """

    payload: bytes
    is_error: bool
    log: bytes


@dataclass(frozen=True)
class _Failure:
    kind: str
    message: str


class Invocations:
    """Runs functions.

    Args:
        endpoint_url: Where functions find the account, with an address as its host: boto3 then asks S3 by path.
        directory: For unpacked code, and for a log of each function: `<name>.log`.
        authority_file: The certificate authorities that functions trust. Default: the machine's.
    """

    def __init__(self, endpoint_url: str, directory: Path, authority_file: Path | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._directory = directory
        self._trust = {"SSL_CERT_FILE": str(authority_file)} if authority_file else {}
        self._runtime_packages = directory / "code" / "runtime"
        link_distributions(RUNTIME_DISTRIBUTIONS, self._runtime_packages)

    def run(self, function: LambdaFunction, event: Any) -> Outcome:  # noqa: ANN401 - JSON
        """Run a function to its end, or to its timeout.

        Raises:
            NotEmulatedError: Such a function is not run here.
            LookupError: Its role does not exist, or does not trust Lambda.
        """
        if function.package_type != "Zip" or not str(function.run_time).startswith("python3.") or function.layers:
            raise NotEmulatedError(
                f"functions in Python from a zip file without layers are run here; {function.function_name} is "
                f"{function.package_type}, {function.run_time}, with {len(function.layers)} layers"
            )
        code = unpack(function.code_bytes, function.code_digest, self._directory / "code")
        request_id = str(uuid.uuid4())
        log = self._directory / f"{function.function_name}.log"
        with tempfile.TemporaryDirectory() as answers, (Path(answers) / "log").open("w+b", buffering=0) as output:
            output.write(f"START RequestId: {request_id} Version: {function.version}\n".encode())
            answer = Path(answers) / "answer.json"
            given = {
                "path": [str(code.stand_ins), str(code.root), str(self._runtime_packages)],
                "answer": str(answer),
                "seconds": function.timeout,
                "event": event,
                "context": _context(function, request_id),
            }
            failure = self._run_process(function, code, given, output)
            if not failure and not answer.exists():
                failure = _Failure("Runtime.ExitError", "Runtime exited without providing a reason")
            if failure:
                output.write(f"{failure.message}\n".encode())
            output.write(f"END RequestId: {request_id}\n".encode())
            answered: Any = None if failure else json.loads(answer.read_text())
            printed = (Path(answers) / "log").read_bytes()
        with log.open("ab") as file:
            file.write(printed)
        report(
            function,
            log_group=_log_group(function),
            request_id=request_id,
            printed=printed.decode(errors="replace"),
            is_error=bool(failure) or answered["is_error"],
        )
        tail = printed[-_LONGEST_LOG_TAIL:]
        if failure:
            message = f"RequestId: {request_id} Error: {failure.message}"
            described = {"errorType": failure.kind, "errorMessage": message}
            return Outcome(json.dumps(described).encode(), is_error=True, log=tail)
        return Outcome(json.dumps(answered["payload"]).encode(), answered["is_error"], tail)

    def _run_process(
        self, function: LambdaFunction, code: Code, given: Mapping[str, Any], output: IO[bytes]
    ) -> "_Failure | None":
        """Run the process, and return why it did not come to its end, if it did not."""
        loaded, loaded_write = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_RUNTIME)],
            cwd=code.root,
            env=self._environment(function, code),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[loaded_write],
            start_new_session=True,
        )
        os.close(loaded_write)
        try:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            with process.stdin:
                process.stdin.write(json.dumps({**given, "loaded": loaded_write}).encode())
            select.select([loaded], [], [], _LOADING_SECONDS)  # its end counts too: then there is no process
            exit_status = process.wait(function.timeout)
        except subprocess.TimeoutExpired:
            return _Failure("Sandbox.Timedout", f"Task timed out after {function.timeout:.2f} seconds")
        finally:
            os.close(loaded)
            _kill_all_of(process)
        if exit_status:
            return _Failure("Runtime.ExitError", f"Runtime exited with error: exit status {exit_status}")
        return None

    def _environment(self, function: LambdaFunction, code: Code) -> dict[str, str]:
        credentials = function_credentials(function.role, function.function_name)
        return {
            **{name: str(value) for name, value in function.environment_vars.items()},
            # Lambda's own, which a function cannot set.
            "_HANDLER": function.handler,
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["Token"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_LOG_GROUP_NAME": _log_group(function),
            "LAMBDA_TASK_ROOT": str(code.root),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TZ": ":UTC",
            # The account's own, in place of AWS's names; and no settings of whoever runs the emulator.
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **self._trust,
        }


def _context(function: LambdaFunction, request_id: str) -> dict[str, str]:
    return {
        "aws_request_id": request_id,
        "function_name": function.function_name,
        "function_version": str(function.version),
        "invoked_function_arn": function.function_arn,
        "log_group_name": _log_group(function),
        "log_stream_name": request_id,
        "memory_limit_in_mb": str(function.memory_size),
    }


def _log_group(function: LambdaFunction) -> str:
    configured: str = logging_config(function).get("LogGroup", f"/aws/lambda/{function.function_name}")
    return configured


def _kill_all_of(process: subprocess.Popen[bytes]) -> None:
    """End a function's process, and what it started: on AWS that freezes with it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
