"""Whether a builder lets this machine in: a handshake with both certificates, and what is wrong when it fails."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from buildkit_ops.failures import (
    BUILDER_UNTRUSTED,
    CLIENT_UNTRUSTED,
    NOT_REACHED,
    UNKNOWN_HOST,
    ToolError,
)
from buildkit_ops.waiting import Tell

SETTLING_SECONDS = 120
"""How long a builder that is in service may still be unreached: until the load balancer has seen it healthy."""

_PATIENCE_SECONDS = 5
_INTERVAL_SECONDS = 3
_SETTINGS_SECONDS = 2
# HTTP/2's client preface and empty settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


def wait_until_let_in(
    endpoint: str,
    server_name: str,
    certificate: Path,
    *,
    tell: Tell,
    seconds: float = SETTLING_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Shake hands until it succeeds, or until waiting no longer helps.

    Args:
        endpoint: `tcp://host:port`.
        server_name: The name that the builder must prove to have.
        certificate: The directory with `ca.crt`, `tls.crt` and `tls.key`.
        tell: Told what one waits for.
        seconds: How long an endpoint may be unreached.
        sleep: Waits.

    Raises:
        ToolError: The host has no address, it was never reached, or one side does not trust the other.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            shake_hands(endpoint, server_name, certificate)
        except ToolError as error:
            if error.failure is not NOT_REACHED or time.monotonic() >= until:
                raise
            tell(f"waiting for {endpoint}")
        else:
            return
        sleep(_INTERVAL_SECONDS)


def shake_hands(endpoint: str, server_name: str, certificate: Path) -> None:
    """Open a connection as a client does, and close it.

    Raises:
        ToolError: The host has no address, it was not reached, or one side does not trust the other.
    """
    place = urlsplit(endpoint)
    context = ssl.create_default_context(cafile=str(certificate / "ca.crt"))
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    try:
        with (
            socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=_PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as connection,
        ):
            if not _answer(connection):
                raise ToolError(NOT_REACHED, endpoint=endpoint, reason="it closed the connection")
    except socket.gaierror as error:
        raise ToolError(UNKNOWN_HOST, host=place.hostname, reason=error.strerror) from None
    except ssl.SSLCertVerificationError as error:
        raise ToolError(BUILDER_UNTRUSTED, endpoint=endpoint, reason=error.verify_message) from None
    except ssl.SSLError as error:
        if "alert" not in str(error).lower():
            raise ToolError(NOT_REACHED, endpoint=endpoint, reason=error.reason or "TLS failed") from None
        raise ToolError(CLIENT_UNTRUSTED, endpoint=endpoint, reason=error.reason) from None
    except OSError as error:
        raise ToolError(NOT_REACHED, endpoint=endpoint, reason=error.strerror or "it did not answer") from None


def _answer(connection: ssl.SSLSocket) -> bytes:
    """Return the first byte of the daemon's HTTP/2 settings, which it sends by itself, or when it is greeted.

    It is read before anything is written: with TLS 1.3 a server looks at the client's certificate after the client's
    part of the handshake, and what is written to one that has refused it can cost the alert that says so.
    """
    connection.settimeout(_SETTINGS_SECONDS)
    try:
        return connection.recv(1)
    except TimeoutError:
        connection.settimeout(_PATIENCE_SECONDS)
        connection.sendall(_HELLO)
        return connection.recv(1)
