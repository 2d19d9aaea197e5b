"""The init of a builder: makes the namespaces look like an instance, runs its user data or starts its enabled units.

Takes the path of a plan, a JSON file as `local.builder` writes it, and a file descriptor on which it reports when the
user data's script began, then `ready` or what failed. SIGTERM stops the units in order.
"""

import email
import email.policy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.guest import imds, units
from local.guest.journal import Journal
from local.guest.volume import Volume

CONTROL_SOCKET = Path("/run/systemctl.sock")
METADATA_CHANGES = "metadata.json"
"""The file in the builder's directory with what the metadata service says differently since the boot."""

LOADER_STARTED = "the user data's script began at "
"""What the report says before the time, `time.monotonic`, which is the same on both sides."""

_FIRST_BOOT_DONE = "first-boot-done"
_OVERLAID = ("/etc", "/opt", "/usr")
_STORE = "/var/lib/buildkit"
_VOLUME = "/dev/sdb"
_SHELL = ("/bin/bash", "-euc")
_SHIMS = Path(__file__).parent / "shims"


def main() -> None:
    """Boot, then serve `systemctl` until SIGTERM."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    report = os.fdopen(int(sys.argv[2]), "w")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Opened now: the builder's own mounts may cover it.
    directory = os.open(plan["directory"], os.O_RDONLY | os.O_DIRECTORY)
    first_boot_done = Path(plan["directory"], _FIRST_BOOT_DONE)
    first_boot = not first_boot_done.exists()
    first_boot_done.touch()
    volume = Volume(Path(plan["volume"])) if plan["volume"] else None
    journal = None
    try:
        _mount_file_systems(Path(plan["directory"]), volume)
        journal = Journal()
        manager = units.UnitManager(log=lambda words: print(words, flush=True), stream=journal.stream)
        _connect(plan["address"], plan["gateway"])
        imds.serve(lambda: {**plan["metadata"], **_metadata_changes(directory)})
        _install_shims(plan["aws"])
        _serve_systemctl(manager)
        if first_boot:
            _forget_units()
            _run(*_SHELL, plan["image_change"])
            report.write(f"{LOADER_STARTED}{time.monotonic()}\n")
            _run_user_data(plan["user_data"], plan["environment"])
        else:
            manager.start_target("multi-user.target")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must hear of it
        if journal:
            journal.end()
        report.write(f"failed: {error}\n")
        report.close()
        sys.exit(1)
    report.write("ready\n")
    report.close()
    stop.wait()
    manager.stop_all()
    journal.end()
    if volume:
        _run("umount", _STORE)
        volume.detach()


def _metadata_changes(directory: int) -> dict[str, str | None]:
    try:
        with open(METADATA_CHANGES, opener=lambda path, flags: os.open(path, flags, dir_fd=directory)) as file:
            changes: dict[str, str | None] = json.load(file)
            return changes
    except FileNotFoundError:
        return {}


def _mount_file_systems(directory: Path, volume: Volume | None) -> None:
    # The instance's own disks: changes go to the builder's directory, the machine's files stay as they are.
    resolver = Path("/etc/resolv.conf").read_text()
    for target in (*_OVERLAID, "/dev") if volume else _OVERLAID:
        upper, work = (directory / kind / target.strip("/") for kind in ("upper", "work"))
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={target},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", options, "overlay", target)
    Path("/etc/resolv.conf").unlink()
    Path("/etc/resolv.conf").write_text(resolver)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    if volume:
        Path(_VOLUME).unlink(missing_ok=True)
        Path(_VOLUME).symlink_to(volume.path)
    stores = () if volume else (_STORE,)
    # A checkout that is below /tmp would be hidden by the builder's own.
    temporary = () if Path(__file__).is_relative_to("/tmp") else ("/tmp",)  # noqa: S108 - the builder's own
    for target in (*stores, "/var/lib/cdk-buildkit", "/var/lib/cni", *temporary):
        source = directory / target.strip("/")
        source.mkdir(parents=True, exist_ok=True)
        Path(target).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(source), target)


def _connect(address: str, gateway: str) -> None:
    # The other side moves eth0 here once this process exists. /sys still shows the machine's own interfaces.
    while subprocess.run(["ip", "link", "show", "eth0"], check=False, capture_output=True).returncode:
        time.sleep(0.02)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{imds.ADDRESS}/32", "dev", "lo")
    _run("ip", "address", "add", address, "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", gateway)


def _forget_units() -> None:
    # This machine's own are none of the builder's.
    shutil.rmtree(units.UNIT_DIRECTORY)
    units.UNIT_DIRECTORY.mkdir()


def _install_shims(aws: str) -> None:
    # Programs that the AMI has and a laptop may lack, under the names by which the host files call them.
    programs = Path("/usr/local/bin")
    for shim in _SHIMS.iterdir():
        shutil.copy(shim, programs / shim.name)
    (programs / "aws").unlink(missing_ok=True)
    (programs / "aws").symlink_to(aws)


def _run_user_data(user_data: str, environment: Mapping[str, str]) -> None:
    # As cloud-init does: the files of the cloud-config first, then the script.
    script = Path("/run/user-data.sh")
    for part in email.message_from_string(user_data, policy=email.policy.default).walk():
        if part.get_content_type() == "text/cloud-config":
            for file in json.loads(part.get_content())["write_files"]:
                path = Path(file["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file["content"])
                path.chmod(int(file["permissions"], 8))
        elif part.get_content_type() == "text/x-shellscript":
            script.write_text(part.get_content())
    # What differs on a laptop is said in the same environment file, after the rest: the last word holds.
    with Path("/etc/cdk-buildkit/environment").open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in environment.items())
    completed = subprocess.run(["/bin/bash", str(script)], env={"PATH": units.PATH, "HOME": "/root"}, check=False)
    if completed.returncode:
        raise units.UnitError(f"the user data's script ended with code {completed.returncode}")


def _serve_systemctl(manager: units.UnitManager) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(CONTROL_SOCKET))
    listener.listen()

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer_systemctl, args=(manager, connection), daemon=True).start()

    threading.Thread(target=answer, daemon=True).start()


def _answer_systemctl(manager: units.UnitManager, connection: socket.socket) -> None:
    with connection, connection.makefile("rw") as stream:
        verb, *words = json.loads(stream.readline())
        try:
            reply: dict[str, Any] = {"code": _systemctl(manager, verb, words), "words": ""}
        except units.UnitError as error:
            reply = {"code": 1, "words": str(error)}
        stream.write(json.dumps(reply) + "\n")


def _systemctl(manager: units.UnitManager, verb: str, words: Sequence[str]) -> int:
    names = [word for word in words if not word.startswith("--")]
    match verb:
        case "daemon-reload":
            return 0  # units are read when they are started
        case "enable" | "start":
            if verb == "enable":
                manager.enable(*names)
            if verb == "start" or "--now" in words:
                manager.start_all(names, wait="--no-block" not in words)
            return 0
        case "stop":
            for name in names:
                manager.stop(name)
            return 0
        case "is-active":
            return 0 if all(map(manager.is_active, names)) else 3
        case "is-failed":
            return 0 if any(map(manager.has_failed, names)) else 1
        case "poweroff":
            os.kill(os.getpid(), signal.SIGTERM)
            return 0
        case _:
            raise units.UnitError(f"systemctl {verb} has no meaning here")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
