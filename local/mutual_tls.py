"""Whether a builder serves a client: the shortest exchange that only mutual TLS lets through."""

import socket
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # HTTP/2's, with empty settings
_FRAME_HEAD = 9
_SETTINGS = 4
_PATIENCE_SECONDS = 5


def client_context(certificate: Mapping[str, str], *, show: bool = True) -> ssl.SSLContext:
    """Return what a client needs for its handshakes.

    Args:
        certificate: Its certificate, with the authority that it trusts: `ca.crt`, `tls.crt` and `tls.key`, in PEM.
        show: Whether it shows its certificate.
    """
    context = ssl.create_default_context(cadata=certificate["ca.crt"])
    context.set_alpn_protocols(["h2"])
    if show:
        with tempfile.TemporaryDirectory() as directory:
            pair = Path(directory) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_text(certificate["tls.crt"] + certificate["tls.key"])
            context.load_cert_chain(pair)
    return context


def serves(address: str, port: int, server_name: str, context: ssl.SSLContext) -> bool:
    """Tell whether the daemon opens an HTTP/2 connection with this client, which it does once it knows who it is."""
    with (
        suppress(OSError),
        socket.create_connection((address, port), timeout=_PATIENCE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=server_name) as tls,
    ):
        tls.sendall(_PREFACE)
        answer = tls.recv(_FRAME_HEAD)
        return len(answer) == _FRAME_HEAD and answer[3] == _SETTINGS
    return False
