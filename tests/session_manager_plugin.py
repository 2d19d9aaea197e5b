#!/usr/bin/env python3
"""Stands in for Session Manager's plugin: it is called as the AWS CLI calls it, and forwards TCP itself.

What follows the program, as `awscli/customizations/sessionmanager.py` of AWS CLI 1.46.3 gives it and the plugin's own
`ValidateInputAndStartSession` reads it: the variable with StartSession's response, the region, the operation, the
profile, the request's parameters, the endpoint. A file beside it says where each instance is.
"""

import json
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Forward one port until it is ended."""
    if sys.argv[1:] == ["--version"]:
        print((HERE / "version").read_text())  # noqa: T201 - its answer
        return
    variable, region, operation, profile, asked, endpoint = sys.argv[1:]
    response, request = json.loads(os.environ.pop(variable)), json.loads(asked)
    call = {"region": region, "operation": operation, "profile": profile, "endpoint": endpoint, "request": request}
    with (HERE / "calls").open("a") as calls:
        calls.write(json.dumps({**call, "variable": variable, "response": response, "process": os.getpid()}) + "\n")
    address = json.loads((HERE / "instances").read_text())[request["Target"]]
    remote = int(request["Parameters"]["portNumber"][0])
    with socket.create_server(("127.0.0.1", int(request["Parameters"]["localPortNumber"][0]))) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_forward, args=(client, (address, remote)), daemon=True).start()


def _forward(client: socket.socket, place: tuple[str, int]) -> None:
    with client, suppress(OSError), socket.create_connection(place) as builder:
        back = threading.Thread(target=_pump, args=(builder, client), daemon=True)
        back.start()
        _pump(client, builder)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
