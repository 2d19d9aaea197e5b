"""Serves the emulated account over HTTP until the process ends."""

import json
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

from moto.core.config import default_user_config
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from local.emulator import authorization, metric_filters, services, spot_capacity
from local.emulator.application import Application
from local.emulator.aws import Aws
from local.emulator.cloudformation import engine
from local.emulator.functions import configuration
from local.emulator.functions import service as functions
from local.emulator.functions.invocation import Invocations
from local.emulator.request_log import RequestLog


class _Handler(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:  # noqa: ANN401 - werkzeug's signature
        """Say nothing: the request log does."""


def serve(
    *,
    bind: str,
    port: int,
    log: RequestLog,
    functions_directory: Path,
    authority_file: Path | None,
    enforce_iam: bool,
    end_with_stdin: bool,
) -> None:
    """Serve the account, and print the port as JSON once it can be reached.

    Args:
        bind: The address to listen on. Its port also answers the account's own calls, over 127.0.0.1.
        port: 0 takes a free one.
        log: Where requests to S3, denials and failures are written.
        functions_directory: For the code of functions, and what they print.
        authority_file: The certificate authorities that functions trust. None: the machine's.
        enforce_iam: Whether policies count from the start.
        end_with_stdin: End when standard input does, which is when the process at its other end is gone.
    """
    default_user_config["iam"] = {"load_aws_managed_policies": True}
    mock_random.seed(0)  # the same deployment gets the same ids
    application = Application(DomainDispatcherApplication(create_backend_app), log, enforce_iam=enforce_iam)
    server = make_server(bind, port, application, threaded=True, request_handler=_Handler)
    host = "127.0.0.1" if bind == "0.0.0.0" else bind  # noqa: S104 - a comparison
    endpoint_url = f"http://{host}:{server.port}"
    engine.install(Aws(endpoint_url))
    configuration.mend()
    functions.install(Invocations(endpoint_url, functions_directory, authority_file), log)
    authorization.install()
    services.mend()
    metric_filters.install()
    spot_capacity.install()
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    if end_with_stdin:
        Thread(target=_await_end, daemon=True).start()
    server.serve_forever()


def _await_end() -> None:
    sys.stdin.read()
    os._exit(0)  # the requests that are under way matter to nobody
