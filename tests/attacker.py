"""A client that attacks its builder, and what stands around the two: services on the builder and beside it."""

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, BaseServer

from local.builder import Builder
from local.client import Client
from local.kubernetes.pod import Pod

METADATA = "169.254.169.254"
STEPS_GATEWAY = "10.10.0.1"
"""The builder, as its RUN steps see it."""

BUILDKIT_PORT = "1234"

_numbers = itertools.count()


class Attacker:
    """A client that is let in, and builds what it should not.

    Args:
        client: Connected to the builder that is attacked.
        directory: For its build contexts.
        image: Arguments of `buildx build` with which `FROM attacker` has Python.
        probe: The file with what it tries.
    """

    def __init__(self, client: Client, directory: Path, *, image: Sequence[str], probe: Path) -> None:
        self._client = client
        self._directory = directory
        self._image = image
        self._probe = probe

    def run(self, *command: str, options: str = "", arguments: Sequence[str] = (), first: str = "") -> str:
        """Let a RUN step try something, and return what it got.

        Args:
            command: What the probe tries, and its arguments.
            options: Options of the RUN instruction.
            arguments: Further arguments of `buildx build`.
            first: Dockerfile lines before the step.
        """
        step = json.dumps(["python3", "/attack/probe.py", "/got", *command])
        return self.build(
            f"FROM attacker\n{first}\nRUN --mount=type=bind,target=/attack {options} {step}\n"
            "FROM scratch\nCOPY --from=0 /got /got\n",
            arguments=arguments,
        )

    def run_all(self, commands: Sequence[tuple[str, ...]], *, options: str = "") -> dict[tuple[str, ...], str]:
        """Let one RUN step try several things, one after the other, and return what each got."""
        got = json.loads(self.run("each", json.dumps(commands), options=options))
        return dict(zip(commands, got, strict=True))

    def build(self, dockerfile: str, *, arguments: Sequence[str] = ()) -> str:
        """Build a Dockerfile, and return the text of the file `/got` in its image."""
        context = Path(tempfile.mkdtemp(dir=self._directory))
        (context / "Dockerfile").write_text(dockerfile)
        (context / "link").symlink_to("/run/buildkit-tls")
        (context / "number").write_text(context.name)  # no step is one that was there before
        shutil.copy(self._probe, context / "probe.py")
        output = Path(tempfile.mkdtemp(dir=self._directory))
        self._client.build(context, arguments=[*self._image, f"--output=type=local,dest={output}", *arguments])
        return (output / "got").read_text()


@contextmanager
def meanwhile(
    victim: Attacker, attacker: Attacker, *command: str, options: str = "", arguments: Sequence[str] = ()
) -> Iterator[tuple[str, Future[str]]]:
    """Let a step of another build do something until the block ends.

    Args:
        victim: Whose build it is.
        attacker: Who looks where it is.
        command: What the step does, and the arguments after the directory for its notes.
        options: Options of the RUN instruction.
        arguments: Further arguments of `buildx build`.

    Yields:
        The step's address, and what it will have got.
    """
    notes = f"--mount=type=cache,id=notes-{next(_numbers)},target=/notes"
    what, *rest = command
    with ThreadPoolExecutor() as threads:
        result = threads.submit(victim.run, what, "/notes", *rest, options=f"{notes} {options}", arguments=arguments)
        try:
            address = until_answered(lambda: attacker.run("read", "/notes/address", options=notes), "10.")
            yield address, result
        finally:
            attacker.run("write", "/notes/end", "", options=notes)


def first_process(builder: Builder | Pod) -> int:
    if isinstance(builder, Pod):
        return builder.process_id
    return builder._first_process  # noqa: SLF001 - the way into its namespaces


def inside(builder: Builder | Pod) -> list[str]:
    """The words that run a command in the builder's network."""
    return ["nsenter", "--net", "--target", str(first_process(builder))]


@contextmanager
def let_through(builder: Builder | Pod, *rule: str, program: str = "iptables") -> Iterator[None]:
    """Accept what a rule of the builder's firewall would drop: table, chain and match as `iptables` takes them."""
    table, chain, *match = rule
    command = [*inside(builder), program, "--wait", "--table", table]
    subprocess.run([*command, "--insert", chain, *match, "--jump", "ACCEPT"], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "--delete", chain, *match, "--jump", "ACCEPT"], check=True)


def join_ports(builder: Builder) -> None:
    """Let the steps that now run reach others on their bridge, and be reached."""
    show = [*inside(builder), "ip", "-json", "link", "show", "master", "buildkit0"]
    for port in json.loads(subprocess.run(show, check=True, capture_output=True).stdout):
        subprocess.run(
            [*inside(builder), "bridge", "link", "set", "dev", port["ifname"], "isolated", "off"], check=True
        )


@contextmanager
def plain_runc(builder: Builder) -> Iterator[None]:
    """Let runc itself run the steps, with all that BuildKit asks for."""
    runtime = Path(f"/proc/{first_process(builder)}/root/usr/local/bin/buildkit-step-runtime")
    aside = runtime.with_suffix(".aside")
    runtime.rename(aside)
    runtime.symlink_to("/usr/local/bin/buildkit-runc")
    try:
        yield
    finally:
        aside.replace(runtime)


@contextmanager
def served(builder: Builder | Pod, address: str, port: str) -> Iterator[None]:
    """Serve HTTP at one of the builder's own addresses."""
    with subprocess.Popen(
        [*inside(builder), sys.executable, "-m", "http.server", "--bind", address, port],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield
        finally:
            server.terminate()


@contextmanager
def own_address(address: str) -> Iterator[None]:
    """Have an address that builders reach through their gateway, as what is beside them in a real VPC."""
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=True)


@contextmanager
def beyond(address: str, port: int, kind: type[BaseServer], handler: type[BaseRequestHandler]) -> Iterator[None]:
    """Serve at such an address."""
    with own_address(address), kind((address, port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def until_answered(ask: Callable[[], str], wanted: str) -> str:
    """Ask for up to ten seconds, or until the answer begins as wanted."""
    for _ in range(100):
        got = ask()
        if got.startswith(wanted):
            break
        threading.Event().wait(0.1)
    return got
