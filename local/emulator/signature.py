"""Checks a request's signature, version 4.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from urllib.parse import quote

from local.emulator.request import AwsRequest, Environ, body

_TIME = "%Y%m%dT%H%M%SZ"


def is_signed_with(secret: str, request: AwsRequest, environ: Environ) -> bool:
    """Tell whether a request's signature was made with the secret. The body's own sum is taken as it is given."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header:
        given = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
        time = environ.get("HTTP_X_AMZ_DATE", "")
    else:
        given = {name: request.query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        time = request.query.get("X-Amz-Date", "")
    scope = given["Credential"].partition("/")[2]
    canonical = "\n".join(
        (
            request.method,
            request.raw_path if request.service == "s3" else quote(request.raw_path, safe="/-_.~"),
            _canonical_query(environ),
            *(f"{name}:{_header(environ, name)}" for name in given["SignedHeaders"].split(";")),
            "",
            given["SignedHeaders"],
            _payload_sum(request, environ, in_header=bool(header)),
        )
    )
    to_sign = "\n".join(("AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), given["Signature"])


def time_of(environ: Environ) -> datetime | None:
    """Return when a request was signed by its header; None: it has none, as with one that is signed in its query."""
    given = environ.get("HTTP_X_AMZ_DATE", "")
    return datetime.strptime(given, _TIME).replace(tzinfo=UTC) if given else None


def _canonical_query(environ: Environ) -> str:
    pairs = [part.partition("=")[::2] for part in environ.get("QUERY_STRING", "").split("&") if part]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "X-Amz-Signature")


def _header(environ: Environ, name: str) -> str:
    variable = name.upper().replace("-", "_")
    value = environ.get(variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}", "")
    return " ".join(value.split())


def _payload_sum(request: AwsRequest, environ: Environ, *, in_header: bool) -> str:
    if not in_header:
        return "UNSIGNED-PAYLOAD"
    given = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if given or request.service == "s3":
        return given or ""
    return hashlib.sha256(body(environ)).hexdigest()
