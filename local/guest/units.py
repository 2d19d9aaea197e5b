"""Run systemd units as systemd would, as far as the builder's units go: a directive that is not known is refused."""

import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from string import Template

UNIT_DIRECTORY = Path("/etc/systemd/system")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
"""The search path that systemd gives to services."""

Stream = Callable[[str], AbstractContextManager[int]]
"""Gives the file descriptor to which a unit prints."""

_HEEDED = {
    "Unit": {"Requires", "After", "Before", "Wants", "Description", "Documentation", "RequiresMountsFor"},
    "Service": {
        *("Type", "RemainAfterExit", "EnvironmentFile", "ExecStart", "ExecStop", "SuccessExitStatus"),
        *("Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "WorkingDirectory"),
    },
    "Install": {"WantedBy"},
}
_WITHOUT_MEANING_HERE = {
    *("Delegate", "LimitNOFILE", "LimitNPROC", "TasksMax", "OOMScoreAdjust"),
    "StartLimitIntervalSec",  # no limit is kept here
    *("RuntimeDirectory", "RuntimeDirectoryMode", "StateDirectory"),  # who uses them makes them too
    *("CapabilityBoundingSet", "LockPersonality", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectClock"),
    *("ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"),
    *("ProtectKernelTunables", "ProtectSystem", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"),
    "SystemCallArchitectures",
}


class UnitError(Exception):
    """A unit cannot be read, or did not start."""


class Unit:
    """A service unit with its drop-ins, read from the unit directory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._directives: dict[str, list[str]] = {}
        path = UNIT_DIRECTORY / name
        if not path.exists():
            raise UnitError(f"there is no unit {name} in {UNIT_DIRECTORY}")
        for file in (path, *sorted(path.with_name(f"{name}.d").glob("*.conf"))):
            self._read(file)

    def _read(self, file: Path) -> None:
        section = ""
        for line in file.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            if line.startswith("["):
                section = line.strip("[]")
                continue
            key, _, value = line.partition("=")
            if key not in _HEEDED.get(section, set()) | _WITHOUT_MEANING_HERE:
                raise UnitError(f"{file}: no meaning is known here for {key} in [{section}]")
            self._directives.setdefault(key, []).append(value)

    def words(self, key: str) -> list[str]:
        """Return the directive's words over all its lines."""
        return [word for value in self._directives.get(key, []) for word in value.split()]

    def lines(self, key: str) -> list[str]:
        """Return the directive's lines, those of commands with the service's variables filled in."""
        lines = self._directives.get(key, [])
        return [Template(line).substitute(self.environment) for line in lines] if key.startswith("Exec") else lines

    def last(self, key: str, default: str) -> str:
        """Return the directive's value, the last line winning."""
        return self._directives.get(key, [default])[-1]

    @property
    def environment(self) -> dict[str, str]:
        """The service's environment: the search path and the environment files."""
        variables = {"PATH": PATH}
        for file in self.lines("EnvironmentFile"):
            for line in Path(file).read_text().splitlines():
                name, separator, value = line.partition("=")
                if separator and not line.startswith("#"):
                    variables[name] = value
        return variables


class UnitManager:
    """Enables, starts, restarts and stops units, and says so to a log. What they print goes to streams of their own."""

    def __init__(self, log: Callable[[str], None], stream: Stream) -> None:
        self._log = log
        self._stream = stream
        self._lock = threading.RLock()
        self._starting: dict[str, threading.RLock] = {}
        self._started: dict[str, Unit] = {}
        self._services: dict[str, _Service] = {}
        self._stopped: dict[str, _Service] = {}

    def enable(self, *names: str) -> None:
        """Let units be started at every boot."""
        for name in names:
            for target in Unit(name).words("WantedBy"):
                wanted = _wanted_by(target)
                wanted.mkdir(exist_ok=True)
                link = wanted / name
                link.unlink(missing_ok=True)
                link.symlink_to(UNIT_DIRECTORY / name)

    def start_all(self, names: Sequence[str], *, wait: bool) -> None:
        """Start units, and wait for them or not.

        Raises:
            UnitError: It waits, and one does not start.
        """
        for name in names:
            if wait:
                self.start(name)
            else:
                threading.Thread(target=self.try_to_start, args=[name], daemon=True).start()

    def start_target(self, target: str) -> None:
        """Start what is enabled for a target; a unit that fails is logged, and the others start."""
        units = [Unit(path.name) for path in _wanted_by(target).glob("*.service")]
        for unit in sorted(units, key=lambda unit: sum(other.name in unit.words("After") for other in units)):
            self.try_to_start(unit.name)

    def try_to_start(self, name: str) -> None:
        """Start a unit as `start` does; a failure is logged."""
        try:
            self.start(name)
        except UnitError as error:
            self._log(str(error))

    def start(self, name: str) -> None:
        """Start a unit after what it requires, which is started at once; does nothing when it runs.

        Raises:
            UnitError: It, or one that it requires, does not start.
        """
        with self._lock:
            starting = self._starting.setdefault(name, threading.RLock())
        with starting:
            if self.is_active(name):
                return
            unit = Unit(name)
            with ThreadPoolExecutor() as pool:
                for started in [pool.submit(self.start, required) for required in unit.words("Requires")]:
                    started.result()
            self._log(f"starting {name}")
            service = None
            if unit.last("Type", "simple") == "oneshot":
                for line in unit.lines("ExecStart"):
                    _run(unit, line, self._stream)
            else:
                service = _Service(unit, self._log, self._stream)
            with self._lock:
                self._started[name] = unit
                if service:
                    self._services[name] = service
                    self._stopped.pop(name, None)

    def stop(self, name: str) -> None:
        """Stop a unit as its directives say, and wait for it; does nothing when it does not run."""
        with self._lock:
            unit = self._started.pop(name, None)
            # Who stops a unit that is being stopped waits with the first.
            service = self._services.pop(name, None) or self._stopped.get(name)
            if service:
                self._stopped[name] = service
        if service:
            service.stop()
        elif unit:
            for line in unit.lines("ExecStop"):
                _run(unit, line, self._stream)

    def stop_all(self) -> None:
        """Stop every unit, the last started first."""
        for name in reversed(list(self._started)):
            self.stop(name)

    def is_active(self, name: str) -> bool:
        """Tell whether a unit is started and has not ended for good since."""
        with self._lock:
            return name in self._started and (name not in self._services or self._services[name].alive)

    def has_failed(self, name: str) -> bool:
        """Tell whether a unit had to be killed, or ended with a code that is no success, when it was stopped."""
        return name in self._stopped and self._stopped[name].failed


class _Service:
    """A long-running service: waits for its readiness, restarts it, ends it."""

    def __init__(self, unit: Unit, log: Callable[[str], None], stream: Stream) -> None:
        self._unit = unit
        self._log = log
        self._stream = stream
        self._stopping = threading.Event()
        self._stop_lock = threading.Lock()
        self.failed = False
        self.alive = True
        self._process = self._launch()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        with self._stop_lock:
            if not self._stopping.is_set():
                self._stopping.set()
                self._end()

    def _end(self) -> None:
        timeout = float(self._unit.last("TimeoutStopSec", "90"))
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            exit_code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._log(f"{self._unit.name} did not stop in {timeout:g} s: killing it")
            os.killpg(self._process.pid, signal.SIGKILL)
            exit_code = self._process.wait()
        successes = {"0", str(-signal.SIGTERM), *self._unit.words("SuccessExitStatus")}
        self.failed = str(exit_code) not in successes
        self._log(f"{self._unit.name} {'failed' if self.failed else 'stopped'} with code {exit_code}")

    def _launch(self) -> subprocess.Popen[bytes]:
        (line,) = self._unit.lines("ExecStart")
        if self._unit.last("Type", "simple") != "notify":
            return self._popen(line, self._unit.environment)
        address = f"/run/{self._unit.name}.notify"
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(address)
            notifications.settimeout(0.2)
            environment: Mapping[str, str] = {**self._unit.environment, "NOTIFY_SOCKET": address}
            process = self._popen(line, environment)
            while process.poll() is None:
                with suppress(TimeoutError):
                    if b"READY=1" in notifications.recv(4096).split(b"\n"):
                        return process
        raise UnitError(f"{self._unit.name} ended with code {process.returncode} before it was ready")

    def _popen(self, line: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._stream(self._unit.name) as output:
            try:
                return subprocess.Popen(
                    shlex.split(line),
                    env=environment,
                    cwd=self._unit.last("WorkingDirectory", "/"),
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError as error:
                raise UnitError(f"{self._unit.name}: {error}") from error

    def _watch(self) -> None:
        while True:
            exit_code = self._process.wait()
            if self._stopping.is_set() or self._unit.last("Restart", "no") != "always":
                self.alive = False
                return
            self._log(f"{self._unit.name} ended with code {exit_code}: restarting it")
            time.sleep(float(self._unit.last("RestartSec", "0.1")))
            try:
                self._process = self._launch()
            except UnitError as error:
                # As systemd, which tries a few times before it gives up.
                self._log(str(error))
                self.alive = False
                return


def _wanted_by(target: str) -> Path:
    return UNIT_DIRECTORY / f"{target}.wants"


def _run(unit: Unit, line: str, stream: Stream) -> None:
    limit = unit.last("TimeoutStartSec", "infinity")
    try:
        with stream(unit.name) as output:
            subprocess.run(
                shlex.split(line),
                env=unit.environment,
                check=True,
                stdout=output,
                stderr=output,
                timeout=None if limit == "infinity" else float(limit),
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"{unit.name}: {error}") from error
