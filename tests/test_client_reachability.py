"""What a handshake with a builder tells: each reason why a client is not let in has words of its own."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from buildkit_ops.failures import (
    BUILDER_UNTRUSTED,
    CLIENT_UNTRUSTED,
    NOT_REACHED,
    UNKNOWN_HOST,
    Failure,
    ToolError,
)
from buildkit_ops.reachability import shake_hands, wait_until_let_in
from cdk_buildkit.handlers.certificates.authority import CLIENT, SERVER, Authority, KeyPair

NAME = "main.buildkit.internal"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
OURS, OTHERS = Authority.create(NOW - 100 * DAY, 700 * DAY), Authority.create(NOW, 700 * DAY)


def issued(
    use: object = CLIENT, authority: Authority = OURS, *, name: str = NAME, at: datetime = NOW, life: timedelta = DAY
) -> KeyPair:
    return authority.issue(use, name, now=at, life=life)  # type: ignore[arg-type]


def files(directory: Path, pair: KeyPair) -> Path:
    """Write a certificate, its key, and the fleet's authority."""
    directory.mkdir(parents=True)
    texts = {"ca.crt": OURS.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory


@contextmanager
def daemon(directory: Path, pair: KeyPair, *, greets: bool = True, speaks: bool = True) -> Iterator[str]:
    """Let in whoever shows a certificate of ours, as buildkitd does; return the endpoint.

    Args:
        directory: For its certificate.
        pair: Its certificate.
        greets: Whether its settings come before the client's.
        speaks: Whether they come at all, before the connection ends.
    """
    place = files(directory, pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    context.load_verify_locations(place / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as connection:
                if not greets:
                    assert connection.recv(14) == b"PRI * HTTP/2.0"
                if speaks:
                    connection.sendall(bytes(9))
                    connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"tcp://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def shake(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Shake hands with a daemon that shows one certificate, as a client that shows another."""
    with ExitStack() as daemons:

        def shake(server: KeyPair, client: KeyPair, **daemon_is: bool) -> None:
            endpoint = daemons.enter_context(daemon(tmp_path / "server", server, **daemon_is))
            shake_hands(endpoint, NAME, files(tmp_path / "client", client))

        yield shake


def test_a_client_of_the_fleet_is_let_in(shake: Callable[..., None]) -> None:
    shake(issued(SERVER), issued())


def test_a_daemon_that_waits_to_be_greeted_is_greeted(shake: Callable[..., None]) -> None:
    shake(issued(SERVER), issued(), greets=False)


@pytest.mark.parametrize(
    ("server", "client", "failure", "words"),
    [
        (issued(SERVER), issued(authority=OTHERS), CLIENT_UNTRUSTED, "UNKNOWN_CA"),
        (issued(SERVER), issued(at=NOW - 9 * DAY), CLIENT_UNTRUSTED, "CERTIFICATE_EXPIRED"),
        (issued(SERVER, OTHERS), issued(), BUILDER_UNTRUSTED, "unable to get local issuer certificate"),
        (issued(SERVER, at=NOW - 9 * DAY), issued(), BUILDER_UNTRUSTED, "certificate has expired"),
        (issued(SERVER, at=NOW + 9 * DAY), issued(), BUILDER_UNTRUSTED, "certificate is not yet valid"),
        (issued(SERVER, name="other.internal"), issued(), BUILDER_UNTRUSTED, "Hostname mismatch"),
    ],
    ids=[
        "another fleet's client",
        "an expired client",
        "another fleet's builder",
        "an expired builder",
        "a clock that is behind",
        "another name",
    ],
)
def test_whoever_does_not_trust_the_other_is_named_with_the_reason(
    shake: Callable[..., None], server: KeyPair, client: KeyPair, failure: Failure, words: str
) -> None:
    with pytest.raises(ToolError) as raised:
        shake(server, client)

    assert raised.value.failure is failure
    assert words in str(raised.value)


def test_a_daemon_that_hangs_up_was_not_reached(shake: Callable[..., None]) -> None:
    with pytest.raises(ToolError, match="was not reached: it closed the connection; let this machine in"):
        shake(issued(SERVER), issued(), speaks=False)


def test_a_name_without_an_address_points_to_the_vpc_at_once(tmp_path: Path) -> None:
    certificate = files(tmp_path / "client", issued())

    with pytest.raises(ToolError) as raised:
        wait_until_let_in("tcp://fleet.invalid:1234", NAME, certificate, tell=quiet, seconds=600, sleep=never)

    assert raised.value.failure is UNKNOWN_HOST
    assert str(raised.value).startswith("fleet.invalid has no address here: ")


def test_an_endpoint_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    certificate = files(tmp_path / "client", issued())
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    told: list[str] = []
    waits: list[float] = []

    with pytest.raises(ToolError) as raised:
        wait_until_let_in(
            nobody, NAME, certificate, tell=told.append, seconds=0.05, sleep=lambda each: pause(waits, each)
        )

    assert raised.value.failure is NOT_REACHED
    assert "Connection refused" in str(raised.value)
    assert len(waits) >= 1
    assert set(told) == {f"waiting for {nobody}"}


def pause(waits: list[float], seconds: float) -> None:
    waits.append(seconds)
    threading.Event().wait(0.03)


def never(_seconds: float) -> None:
    raise AssertionError("there is nothing to wait for")


def quiet(_words: str) -> None:
    """Be told, and keep it."""
