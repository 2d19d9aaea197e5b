"""Probes and hooks of containers, carried out as the kubelet does: from the node."""

import http.client
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.kubernetes.container import Container
from local.kubernetes.objects import KubernetesError, check_fields

_TIMINGS = {"initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"}
_ACTIONS = {"exec", "httpGet", "tcpSocket", "sleep"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom an action is carried out on.

    Args:
        container: The container.
        address: Its pod's address.
        ports: Its ports by their names.
    """

    container: Container
    address: str
    ports: Mapping[str, int]


def act(action: Mapping[str, Any], target: Target, seconds: float) -> bool:
    """Carry out a probe or a hook once, and tell whether it succeeded.

    Args:
        action: One of `exec`, `httpGet`, `tcpSocket`, and for hooks `sleep`.
        target: On whom.
        seconds: The longest that it may take.

    Raises:
        KubernetesError: It is another action.
    """
    try:
        match action:
            case {"exec": {"command": command}}:
                return target.container.execute(command, seconds).returncode == 0
            case {"httpGet": request}:
                return _get(request, target, seconds)
            case {"tcpSocket": {"port": port}}:
                socket.create_connection((target.address, _port(port, target)), seconds).close()
                return True
            case {"sleep": {"seconds": duration}}:
                target.container.ended.wait(min(duration, seconds))
                return True
    except (OSError, http.client.HTTPException, subprocess.TimeoutExpired):
        return False
    raise KubernetesError(f"no meaning is known here for the action {dict(action)}")


def _get(request: Mapping[str, Any], target: Target, seconds: float) -> bool:
    check_fields(request, {"path", "port", "scheme", "host", "httpHeaders"}, "httpGet")
    if request.get("scheme", "HTTP") != "HTTP":
        raise KubernetesError("httpGet is done here without TLS alone")
    host = request.get("host", target.address)
    connection = http.client.HTTPConnection(host, _port(request["port"], target), timeout=seconds)
    try:
        headers = {each["name"]: each["value"] for each in request.get("httpHeaders", [])}
        connection.request("GET", request.get("path", "/"), headers={"User-Agent": "kube-probe/1.34", **headers})
        return 200 <= connection.getresponse().status < 400  # noqa: PLR2004 - as the kubelet takes it
    finally:
        connection.close()


def _port(port: int | str, target: Target) -> int:
    return port if isinstance(port, int) else target.ports[port]


class Probe:
    """A probe that is repeated from `start` on, in a thread, until it is stopped or its container ends.

    Args:
        given: The probe.
        target: Whom it asks.
        report: Told of each change: True after enough successes, False after enough failures.
    """

    def __init__(self, given: Mapping[str, Any], target: Target, report: Callable[[bool], None]) -> None:
        check_fields(given, {*_TIMINGS, *_ACTIONS, "terminationGracePeriodSeconds"}, "a probe")
        self._action = {name: value for name, value in given.items() if name in _ACTIONS}
        self._delay = given.get("initialDelaySeconds", 0)
        self._period = given.get("periodSeconds", 10)
        self._timeout = given.get("timeoutSeconds", 1)
        self._thresholds = {True: given.get("successThreshold", 1), False: given.get("failureThreshold", 3)}
        self._target = target
        self._report = report
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._repeat, daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def _repeat(self) -> None:
        self._stopped.wait(self._delay)
        reported: bool | None = None
        last, streak = False, 0
        while not self._stopped.is_set() and not self._target.container.ended.is_set():
            result = act(self._action, self._target, self._timeout)
            streak = streak + 1 if result == last else 1
            last = result
            if result != reported and streak >= self._thresholds[result] and not self._stopped.is_set():
                reported = result
                self._report(result)
            self._stopped.wait(self._period)
