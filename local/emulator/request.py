"""What a request to the emulated account asks for: service, action, parameters, and whose key it bears."""

import gzip
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.emulator.rest_actions import rest_action

Environ = dict[str, Any]
"""A WSGI environment."""


_IAM_PREFIXES = {"monitoring": "cloudwatch"}
"""How IAM's actions name a service, where the name in a signature's scope is another."""


@dataclass(frozen=True)
class AwsRequest:
    """A request, as far as its signature, its headers and its query tell, or for services other than S3 its body.

    Args:
        method: The HTTP method.
        raw_path: The path as it was sent, percent-encoded.
        service: The service as IAM's actions name it; for an unsigned request `sts` or `s3`.
        access_key: Whose signature it bears. None: it is not signed.
        session_token: The token that goes with a temporary key. None: there is none.
        query: The query's parameters.
        parameters: The parameters of a service other than S3.
        action: What a service other than S3 is asked to do. Empty for S3, see `s3_actions`, and where it is not known.
        bucket: S3's bucket. Empty: the request names none.
        key: S3's key. Empty: the request names none.
    """

    method: str
    raw_path: str
    service: str
    access_key: str | None
    session_token: str | None
    query: Mapping[str, str]
    parameters: Mapping[str, Any]
    action: str
    bucket: str
    key: str

    @classmethod
    def read(cls, environ: Environ) -> "AwsRequest":
        """Read a request. The body of any service but S3 is read, and put back."""
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        raw_path = str(environ.get("REQUEST_URI", environ["PATH_INFO"])).partition("?")[0]
        signature = re.search(r"Credential=([^/,\s]+)/([^,\s]+)", environ.get("HTTP_AUTHORIZATION", ""))
        credential = f"{signature[1]}/{signature[2]}" if signature else query.get("X-Amz-Credential", "")
        access_key, _, scope = credential.partition("/")
        is_whole = scope.count("/") >= 2  # noqa: PLR2004 - date, region, service
        service = scope.split("/")[2] if is_whole else _unsigned_service(environ)
        service = _IAM_PREFIXES.get(service, service)
        parameters: Mapping[str, Any] = {} if service == "s3" else _parameters(environ, query)
        in_path, named = rest_action(service, environ["REQUEST_METHOD"], raw_path)
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2] or in_path
        bucket, key = _bucket_and_key(environ, raw_path) if service == "s3" else ("", "")
        return cls(
            method=environ["REQUEST_METHOD"],
            raw_path=raw_path,
            service=service,
            access_key=access_key or None,
            session_token=environ.get("HTTP_X_AMZ_SECURITY_TOKEN") or query.get("X-Amz-Security-Token"),
            query=query,
            parameters={**parameters, **named},
            action=target or str(parameters.get("Action", "")),
            bucket=bucket,
            key=key,
        )


def _unsigned_service(environ: Environ) -> str:
    """Tell S3, whose objects may be everybody's, from STS, which gives keys to who has none yet."""
    is_form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    return "sts" if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/" and is_form else "s3"


def body(environ: Environ) -> bytes:
    """Return a request's body, and put it back for whoever reads it next."""
    data: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(data)
    return data


def _parameters(environ: Environ, query: Mapping[str, str]) -> Mapping[str, Any]:
    data = body(environ)
    compressed = environ.get("HTTP_CONTENT_ENCODING") == "gzip"
    text = (gzip.decompress(data) if compressed else data).decode(errors="replace")
    if "json" in environ.get("CONTENT_TYPE", ""):
        document = json.loads(text or "{}")
        return document if isinstance(document, dict) else {}
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return {**query, **dict(parse_qsl(text, keep_blank_values=True))}
    return query


def _bucket_and_key(environ: Environ, raw_path: str) -> tuple[str, str]:
    path = unquote(raw_path).removeprefix("/")
    in_host = re.match(r"([^:]+?)\.(localhost|s3[.-])", environ.get("HTTP_HOST", ""))
    if in_host:
        return in_host[1], path
    bucket, _, key = path.partition("/")
    return bucket, key
