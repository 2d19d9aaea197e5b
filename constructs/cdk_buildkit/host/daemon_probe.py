"""Ask buildkitd whether it answers, by its own socket: a connection to its port would count as a build."""

from __future__ import annotations

import socket

SOCKET = "/run/buildkit/buildkitd.sock"

_PATIENCE_SECONDS = 2
_FRAME_HEADER = 9
_SETTINGS = 4
_EMPTY_SETTINGS = bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _EMPTY_SETTINGS


def answers(path: str = SOCKET) -> bool:
    """Tell whether the daemon opens an HTTP/2 connection: a listener alone may be one that nobody serves any more.

    Args:
        path: Its socket.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_SECONDS)
            connection.connect(path)
            connection.sendall(_PREFACE)
            header = b""
            while len(header) < _FRAME_HEADER:
                part = connection.recv(_FRAME_HEADER - len(header))
                if not part:
                    return False
                header += part
            return header[3] == _SETTINGS
    except OSError:
        return False
