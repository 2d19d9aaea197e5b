"""Issued certificates against a real buildkitd, with buildctl and buildx: who is let in, and who is not."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdk_buildkit.handlers.certificates.authority import CLIENT, SERVER, Authority, KeyPair
from cdk_buildkit.handlers.certificates.secret_store import Credential

DOMAIN_NAME = "main.buildkit.internal"
HOST = "127.0.0.1"
DAY = timedelta(days=1)
PATIENCE_SECONDS = 30

pytestmark = pytest.mark.usefixtures("toolchain")


def authority() -> Authority:
    return Authority.create(datetime.now(UTC), 730 * DAY)


def server(issuer: Authority) -> KeyPair:
    return issuer.issue(SERVER, DOMAIN_NAME, now=datetime.now(UTC), life=90 * DAY)


def client(issuer: Authority) -> KeyPair:
    return issuer.issue(CLIENT, f"client.{DOMAIN_NAME}", now=datetime.now(UTC), life=30 * DAY)


def trusting(*authorities: Authority) -> str:
    return "".join(each.certificate for each in authorities)


def write(directory: Path, credential: Credential) -> Path:
    directory.mkdir()
    files = {"ca.crt": credential.bundle, "tls.crt": credential.pair.certificate, "tls.key": credential.pair.key}
    for name, content in files.items():
        (directory / name).write_text(content)
    return directory


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def buildkitd(directory: Path, credential: Credential) -> Iterator[int]:
    """Run a daemon that trusts and shows what builders are given, and return its port."""
    port = free_port()
    tls = write(directory / "server", credential)
    log = directory / "buildkitd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [
                *(
                    "buildkitd",
                    f"--root={directory / 'root'}",
                    f"--addr=tcp://{HOST}:{port}",
                    "--containerd-worker=false",
                ),
                *(f"--tlscacert={tls / 'ca.crt'}", f"--tlscert={tls / 'tls.crt'}", f"--tlskey={tls / 'tls.key'}"),
                *("--oci-worker-binary=runc", f"--otel-socket-path={directory / 'otel.sock'}"),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"running server on" not in log.read_bytes():
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(PATIENCE_SECONDS)
        daemon.kill()
        daemon.wait()


def buildctl(port: int, *options: str) -> str:
    """Ask the daemon for its workers; return an empty string if it answers, else buildctl's words."""
    return run("buildctl", f"--addr=tcp://{HOST}:{port}", *options, "debug", "workers")


def tls_options(tls: Path) -> list[str]:
    files = [f"--tlscacert={tls / 'ca.crt'}", f"--tlscert={tls / 'tls.crt'}", f"--tlskey={tls / 'tls.key'}"]
    return [f"--tlsservername={DOMAIN_NAME}", *files]


def buildx(port: int, tls: Path) -> str:
    """Start a remote builder; return an empty string if it does, else buildx's words."""
    options = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
    arguments = [f"--driver-opt={option}={tls / name}" for option, name in options.items()]
    state = {"BUILDX_CONFIG": str(tls / "buildx"), "DOCKER_CONFIG": str(tls / "docker")}
    name = f"--driver-opt=servername={DOMAIN_NAME}"
    address = f"tcp://{HOST}:{port}"
    created = run("buildx", "create", "--name=fleet", "--driver=remote", name, *arguments, address, **state)
    return created or run("buildx", "inspect", "--bootstrap", "fleet", **state)


def alert(port: int, ca: str, tls: Path | None) -> str:
    """Return the words of the TLS alert by which the daemon refuses a client that listens before it speaks.

    buildctl speaks first, so that it may learn of a reset connection instead.
    """
    context = ssl.create_default_context(cadata=ca)
    context.set_alpn_protocols(["h2"])
    if tls:
        context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    with (
        socket.create_connection((HOST, port), PATIENCE_SECONDS) as connection,
        pytest.raises(ssl.SSLError) as refusal,
        context.wrap_socket(connection, server_hostname=DOMAIN_NAME) as secured,
    ):
        secured.recv(1)
    return str(refusal.value)


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
    )
    return done.stderr or f"exit code {done.returncode}" if done.returncode else ""


@dataclass(frozen=True)
class Fleet:
    """One builder, and the authorities that it trusts."""

    authorities: tuple[Authority, ...]
    port: int

    @property
    def bundle(self) -> str:
        return trusting(*self.authorities)

    def give(self, directory: Path, pair: KeyPair) -> Path:
        """Write what a client has, who trusts what the builder trusts."""
        return write(directory, Credential(bundle=self.bundle, pair=pair))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with one authority."""
    issuer = authority()
    credential = Credential(bundle=trusting(issuer), pair=server(issuer))
    with buildkitd(tmp_path_factory.mktemp("builder"), credential) as port:
        yield Fleet((issuer,), port)


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet whose builder trusts the former and the next authority, and shows the former's certificate."""
    former, following = authority(), authority()
    credential = Credential(bundle=trusting(former, following), pair=server(former))
    with buildkitd(tmp_path_factory.mktemp("builder"), credential) as port:
        yield Fleet((former, following), port)


def test_the_fleets_client_is_let_in(fleet: Fleet, tmp_path: Path) -> None:
    tls = fleet.give(tmp_path / "client", client(fleet.authorities[0]))

    assert buildctl(fleet.port, *tls_options(tls)) == ""
    assert buildx(fleet.port, tls) == ""


def expired(issuer: Authority) -> KeyPair:
    return issuer.issue(CLIENT, f"client.{DOMAIN_NAME}", now=datetime.now(UTC) - 31 * DAY, life=30 * DAY)


def self_signed(_: Authority) -> KeyPair:
    return authority()


def of_another_fleet(_: Authority) -> KeyPair:
    return client(authority())


@pytest.mark.parametrize(
    ("stranger", "words"),
    [
        (of_another_fleet, "unknown ca"),
        (expired, "certificate expired"),
        (self_signed, "unknown ca"),
        (server, "bad certificate"),
    ],
    ids=["of another fleet", "expired", "self-signed", "a builder's own"],
)
def test_another_certificate_is_refused(
    fleet: Fleet, tmp_path: Path, stranger: Callable[[Authority], KeyPair], words: str
) -> None:
    tls = fleet.give(tmp_path / "client", stranger(fleet.authorities[0]))

    assert "Unavailable" in buildctl(fleet.port, *tls_options(tls))
    assert words in alert(fleet.port, fleet.bundle, tls)


def test_buildx_is_refused_with_the_certificate_of_another_fleet(fleet: Fleet, tmp_path: Path) -> None:
    tls = fleet.give(tmp_path / "client", of_another_fleet(fleet.authorities[0]))

    assert "deadline exceeded" in buildx(fleet.port, tls)


def test_a_client_without_a_certificate_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text(fleet.bundle)

    words = buildctl(fleet.port, f"--tlsservername={DOMAIN_NAME}", f"--tlscacert={ca}")

    assert "Unavailable" in words
    assert "certificate required" in alert(fleet.port, fleet.bundle, None)


def test_a_client_without_tls_is_refused(fleet: Fleet) -> None:
    assert "Unavailable" in buildctl(fleet.port)


def test_a_client_refuses_the_builder_of_another_fleet(fleet: Fleet, tmp_path: Path) -> None:
    credential = Credential(bundle=trusting(authority()), pair=client(fleet.authorities[0]))
    tls = write(tmp_path / "client", credential)

    assert "certificate signed by unknown authority" in buildctl(fleet.port, *tls_options(tls))


@pytest.mark.parametrize("signed_by", [0, 1], ids=["the former", "the next"])
def test_during_a_change_clients_of_both_authorities_are_let_in(
    changing: Fleet, tmp_path: Path, signed_by: int
) -> None:
    tls = changing.give(tmp_path / "client", client(changing.authorities[signed_by]))

    assert buildctl(changing.port, *tls_options(tls)) == ""
    assert buildx(changing.port, tls) == ""
