"""The emulated account's one region and the clients for its services."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

ACCOUNT = "123456789012"
"""moto's default account."""

REGION = "us-east-1"
"""The one region in which moto resolves Fn::GetAZs as AWS does."""

OPERATOR_ACCESS_KEY = "AKIAEMULATEDOPERATOR"
OPERATOR_SECRET_KEY = "operator-of-the-emulated-account"  # noqa: S105 - opens nothing but the emulator
"""The key of the emulated account's owner: whoever deploys, and the deployment itself."""


class Aws:
    """The services' public interfaces, as the operator.

    Args:
        endpoint_url: Where the emulator listens, for example `http://localhost:5000`.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self._session = boto3.Session(
            aws_access_key_id=OPERATOR_ACCESS_KEY, aws_secret_access_key=OPERATOR_SECRET_KEY, region_name=REGION
        )
        self.client = cache(self._new_client)

    def _new_client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes a service's client at run time
        # Once, and never through the machine's proxy.
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, proxies={})
        return self._session.client(service, endpoint_url=self.endpoint_url, config=config)  # type: ignore[call-overload]
