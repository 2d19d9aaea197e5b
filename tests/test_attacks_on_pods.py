"""Builds that want more than a RUN step has, on a builder that is a pod: its role, its node, its files, other pods.

One step tries many things, and each has a test of its own. Where an attack finds nothing, another test shows that there
was something to find. Run in a sandbox: `python -m local.sandbox pytest tests/test_attacks_on_pods.py`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cdk_buildkit.host import step_runtime
from local.client import BuildError, write_certificate
from local.deployment import Deployment
from local.emulator.aws import REGION
from local.guest import imds
from local.kubernetes.cluster import Cluster
from local.kubernetes.pod import Pod
from local.kubernetes.pod_identity import TOKEN_DIRECTORY, TOKEN_FILE, URL
from local.vpc import GATEWAY
from tests.attacker import METADATA, STEPS_GATEWAY, Attacker, beyond, inside, let_through, meanwhile, own_address
from tests.pod_clients import QUICK, NewClient
from tests.test_attacks_for_privileges import (
    CERTIFICATE_FILES,
    FORBIDDEN_CAPABILITIES,
    MEMORY,
    OOM_SCORE_ADJUSTMENT,
    PRIVILEGES,
    PROCESS_LIMITS,
    REFUSED,
    REQUESTS,
    SETTINGS,
    TREES,
    definition,
)

pytest_plugins = ["tests.attack_fixtures", "tests.pod_fixtures"]

TOKEN_PATH = f"{TOKEN_DIRECTORY}/{TOKEN_FILE}"
FROM_STEPS = ("raw", "PREROUTING", "--in-interface", "buildkit0")
NODE_SECRET = "of-the-node"  # noqa: S105 - what stands for it
KUBELET_PORT = "10250"
NOTHING = r"^$"
SILENCE = r"timed out"

TRIED: dict[str, tuple[tuple[str, ...], str]] = {
    "the node's role by IMDS version 1": (
        ("http", "GET", f"http://{METADATA}/latest/meta-data/iam/security-credentials/"),
        SILENCE,
    ),
    "a token by IMDS version 2": (
        ("http", "PUT", f"http://{METADATA}/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds:60"),
        SILENCE,
    ),
    "the node's role by IMDS version 2": (("credentials", METADATA), SILENCE),
    "IMDS over IPv6": (("connect", "fd00:ec2::254", "80"), "Network is unreachable"),
    "Pod Identity": (("http", "GET", URL), SILENCE),
    "Pod Identity, with the pod's own token": (("http", "GET", URL, "Authorization:{token}"), SILENCE),
    "Pod Identity over IPv6": (("connect", "fd00:ec2::23", "80"), "Network is unreachable"),
    "the pod's token": (("read", TOKEN_PATH), "FileNotFoundError"),
    "the credentials of an ECS task": (("http", "GET", "http://169.254.170.2/v2/credentials"), SILENCE),
    "the node's kubelet": (("connect", GATEWAY, KUBELET_PORT), SILENCE),
    "the pod's loopback": (("connect", "127.0.0.1", "1236"), "ConnectionRefusedError"),
    "the debug address": (("connect", STEPS_GATEWAY, "6060"), SILENCE),
    "the debug address at the pod's own": (("connect", "{pod}", "6060"), SILENCE),
    "the daemon, without a certificate": (("speak_tls", STEPS_GATEWAY, "1234"), r"SSLError|timed out"),
    "the daemon at the pod's own address": (("speak_tls", "{pod}", "1234"), r"SSLError|timed out"),
    "the agent": (("http", "GET", f"http://{STEPS_GATEWAY}:1236/health"), SILENCE),
    "the agent at the pod's own address": (("http", "GET", "http://{pod}:1236/health"), SILENCE),
    "another fleet's daemon": (("connect", "{other}", "1234"), SILENCE),
    "another fleet's agent": (("connect", "{other}", "1236"), SILENCE),
    "the daemon's socket, keys and token": (("find", "buildkitd.sock", "tls.key", "PRIVATE KEY", "{token}"), NOTHING),
    "sockets but the one for traces": (("sockets",), r"^/dev/otel-grpc\.sock$"),
    "processes but its own": (("processes",), r"^1$"),
}
"""What a step tries, and the pattern of what it gets."""

Got = Mapping[tuple[str, ...], str]


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Pod:
    return cluster.boot("main", environment=QUICK)


@pytest.fixture(scope="module")
def other_pod(cluster: Cluster) -> Pod:
    return cluster.boot("pull-requests", environment=QUICK)


@pytest.fixture(scope="module")
def make_pod_attacker(
    new_client: NewClient, attacker_image: list[str], probe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Pod], Attacker]:
    def make(fleet: str, pod: Pod) -> Attacker:
        return Attacker(new_client(fleet, pod), tmp_path_factory.mktemp("attacks"), image=attacker_image, probe=probe)

    return make


@pytest.fixture(scope="module")
def attacker(make_pod_attacker: Callable[[str, Pod], Attacker], pod: Pod) -> Attacker:
    return make_pod_attacker("main", pod)


@pytest.fixture(scope="module")
def other_attacker(make_pod_attacker: Callable[[str, Pod], Attacker], other_pod: Pod) -> Attacker:
    return make_pod_attacker("pull-requests", other_pod)


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    """What a node serves beside the pods: its role's credentials, at any distance, and the kubelet's port."""
    values = imds.metadata(
        instance_id="i-1", region=REGION, role_name="node", credentials={"SecretAccessKey": NODE_SECRET}
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        own_address(METADATA),
        HTTPServer((GATEWAY, int(KUBELET_PORT)), BaseHTTPRequestHandler),
    ):
        patch.setattr(imds, "HOP_LIMIT", 64)
        server = imds.serve(lambda: values)
        yield
        server.shutdown()
        server.server_close()


@pytest.fixture
def on_pod(pod: Pod, probe: Path, tmp_path: Path) -> Callable[..., str]:
    """Let the probe try something in the pod's own network, as its daemon could."""
    return lambda *command: _in_network(pod, probe, tmp_path, *command)


def _in_network(pod: Pod, probe: Path, directory: Path, *command: str) -> str:
    got = directory / "got"
    subprocess.run([*inside(pod), sys.executable, str(probe), str(got), *command], check=True)
    return got.read_text()


@contextmanager
def without_policies() -> Iterator[None]:
    """Let pods send and be sent everything."""
    chains = ("PODS-FROM", "PODS-TO")
    for chain in chains:
        subprocess.run(["iptables", "--wait", "--insert", chain, "--jump", "RETURN"], check=True)
    try:
        yield
    finally:
        for chain in chains:
            subprocess.run(["iptables", "--wait", "--delete", chain, "--jump", "RETURN"], check=True)


def filled(command: tuple[str, ...], pod: Pod, other_pod: Pod) -> tuple[str, ...]:
    values = {"pod": pod.address, "other": other_pod.address, "token": pod.token or ""}
    return tuple(word.format(**values) for word in command)


@pytest.fixture(scope="module")
def tried(attacker: Attacker, pod: Pod, other_pod: Pod) -> Got:
    """What one step got that tried all of them."""
    commands = {command: filled(command, pod, other_pod) for command, _ in TRIED.values()}
    got = attacker.run_all(list(commands.values()))
    return {command: got[done] for command, done in commands.items()}


@pytest.mark.parametrize("name", TRIED)
def test_a_step_does_not_get(tried: Got, name: str) -> None:
    command, pattern = TRIED[name]

    assert re.search(pattern, tried[command])


# What there was to get.


def test_the_pod_itself_gets_its_roles_credentials_for_its_token(
    cluster: Cluster, pod: Pod, on_pod: Callable[..., str]
) -> None:
    assert cluster.credentials("main")["SecretAccessKey"] in on_pod("http", "GET", URL, f"Authorization:{pod.token}")
    assert on_pod("http", "GET", URL).startswith("401")


def test_without_the_pods_firewall_a_step_with_the_token_would_get_them_too(
    cluster: Cluster, pod: Pod, attacker: Attacker
) -> None:
    with let_through(pod, *FROM_STEPS):
        got = attacker.run("http", "GET", URL, f"Authorization:{pod.token}")

    assert cluster.credentials("main")["SecretAccessKey"] in got


def test_without_the_pods_firewall_the_policy_would_still_keep_the_nodes_role(pod: Pod, attacker: Attacker) -> None:
    with let_through(pod, *FROM_STEPS):
        assert "timed out" in attacker.run("credentials", METADATA)


def test_without_either_a_step_would_have_the_nodes_role(pod: Pod, attacker: Attacker) -> None:
    with let_through(pod, *FROM_STEPS), without_policies():
        assert NODE_SECRET in attacker.run("credentials", METADATA)


def test_without_the_policy_a_step_would_reach_the_node_and_other_pods(attacker: Attacker, other_pod: Pod) -> None:
    with without_policies():
        got = attacker.run_all([("connect", GATEWAY, KUBELET_PORT), ("connect", other_pod.address, "1234")])

    assert set(got.values()) == {"connected"}


def test_the_policy_keeps_the_daemon_too_from_the_nodes_role(on_pod: Callable[..., str]) -> None:
    assert "timed out" in on_pod("credentials", METADATA)


def test_the_files_that_no_step_finds_are_there(pod: Pod) -> None:
    paths = ["/run/buildkit/buildkitd.sock", "/run/buildkit-tls/tls.key", TOKEN_PATH]

    assert pod.runners["buildkitd"].running.execute(["ls", *paths]).returncode == 0


def test_clients_in_their_namespace_reach_the_daemon_alone_and_other_builders_nothing(
    cluster: Cluster, pod: Pod, other_pod: Pod, probe: Path, tmp_path: Path
) -> None:
    runner = {
        "metadata": {"name": "runner", "namespace": "ci"},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "runner", "image": "moby/buildkit", "command": ["sleep", "60"]}],
        },
    }
    client = Pod(cluster.node, runner)

    got = {
        (each.namespace, port): _in_network(each, probe, tmp_path, "connect", pod.address, port)
        for each in (client, other_pod)
        for port in ("1234", "1236")
    }
    client.remove()

    assert got.pop(("ci", "1234")) == "connected"
    assert all("timed out" in each for each in got.values())


# More than a step has.


@pytest.fixture(scope="module")
def got(attacker: Attacker) -> Got:
    """What one step got that tried all of them."""
    attempts = [each for group in (REFUSED, SETTINGS, TREES, MEMORY) for each in group.values()]
    return attacker.run_all([PRIVILEGES, OOM_SCORE_ADJUSTMENT, *PROCESS_LIMITS, *attempts])


def test_a_step_has_none_of_the_capabilities_that_change_the_node(got: Got) -> None:
    lines = dict(word.split(":") for word in got[PRIVILEGES].split())

    for capabilities in (lines["CapEff"], lines["CapBnd"]):
        assert [name for name, bit in FORBIDDEN_CAPABILITIES.items() if int(capabilities, 16) >> bit & 1] == []
    assert lines["Seccomp"] == "2"  # a filter


@pytest.mark.parametrize("name", REFUSED)
def test_a_step_is_refused_a(got: Got, name: str) -> None:
    assert got[REFUSED[name]].startswith("PermissionError")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_cannot_change_the_kernels_setting(got: Got, name: str) -> None:
    assert re.search("Read-only file system|No such file", got[SETTINGS[name]])


@pytest.mark.parametrize("name", TREES)
def test_a_step_can_write_to_nothing_below(got: Got, name: str) -> None:
    assert got[TREES[name]] == ""


@pytest.mark.parametrize("name", MEMORY)
def test_a_step_reads_nothing_of_the_kernels_memory(got: Got, name: str) -> None:
    read = got[MEMORY[name]]

    assert read == "" or read.startswith(("FileNotFoundError", "PermissionError"))


def test_a_fork_bomb_ends_before_the_nodes_last_process_id(got: Got) -> None:
    assert f"{step_runtime.MOST_PROCESSES}\n" in [got[each] for each in PROCESS_LIMITS]


def test_a_step_that_eats_the_memory_goes_before_the_daemon(got: Got, pod: Pod) -> None:
    # The kubelet scores a container by what its pod asks for: up to 999.
    daemon = pod.runners["buildkitd"].running.execute(["cat", "/proc/1/oom_score_adj"]).stdout

    assert 0 < int(daemon) < int(got[OOM_SCORE_ADJUSTMENT]) == 1000


# Builds that are refused, or find nothing: all at once, for some take a while to say so.

REFUSED_BUILDS: dict[str, tuple[str, str]] = {
    "ADD from the node's metadata service": (
        f"FROM scratch\nADD http://{METADATA}/latest/meta-data/iam/security-credentials/ /got\n",
        r"i/o timeout|deadline exceeded|connection timed out",
    ),
    "ADD from Pod Identity": (f"FROM scratch\nADD {URL} /got\n", r"401"),
    "ADD from the agent on the loopback": ("FROM scratch\nADD http://127.0.0.1:1236/health /got\n", r"403"),
    "ADD from the agent at the pod's address": ("FROM scratch\nADD http://{pod}:1236/health /got\n", r"403"),
    **{
        f"{instruction.split()[0]} of {source}": (
            f"FROM attacker\n{instruction.format(source)}\n",
            r'"/(run/buildkit-tls|link)": not found',
        )
        for instruction in ("RUN --mount=type=bind,source={},target=/m true", "COPY {} /got")
        for source in ("/run/buildkit-tls", "../../../../../../../run/buildkit-tls", "link")
    },
}


@pytest.fixture(scope="module")
def refused(attacker: Attacker, pod: Pod) -> Iterator[Mapping[str, Future[str]]]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        yield {
            **{
                name: threads.submit(attacker.build, dockerfile.replace("{pod}", pod.address))
                for name, (dockerfile, _) in REFUSED_BUILDS.items()
            },
            **{
                name: threads.submit(attacker.run, "processes", options=options, arguments=arguments)
                for name, (options, arguments) in REQUESTS.items()
            },
        }


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_for_more_is_refused(refused: Mapping[str, Future[str]], name: str) -> None:
    with pytest.raises(BuildError, match=r"(network\.host|security\.insecure) is not allowed"):
        refused[name].result()


@pytest.mark.parametrize("name", REFUSED_BUILDS)
def test_a_build_does_not_get_anything_by_an(refused: Mapping[str, Future[str]], name: str) -> None:
    with pytest.raises(BuildError, match=REFUSED_BUILDS[name][1]):
        refused[name].result()


def test_a_cache_mount_does_not_lead_to_the_pods_files(attacker: Attacker) -> None:
    options = "--mount=type=cache,id=up,source=../../../../../../..,target=/cache"

    got = attacker.run_all(
        [
            ("read", f"/cache{path}")
            for path in ("/run/buildkit-tls/tls.key", TOKEN_PATH, "/run/buildkit/buildkitd.toml")
        ],
        options=options,
    )

    assert all(each.startswith("FileNotFoundError") for each in got.values())


def test_a_link_in_a_cache_mount_does_not_lead_to_the_pods_files(attacker: Attacker) -> None:
    link = json.dumps(["python3", "-c", "import os; os.symlink('/run/buildkit-tls', '/cache/link')"])

    with pytest.raises(BuildError, match=r"/var/lib/buildkit/.*/run/buildkit-tls: no such file or directory"):
        attacker.run(
            *("read", "/cache/tls.key"),
            first=f"RUN --mount=type=cache,id=link,target=/cache {link}",
            options="--mount=type=cache,id=link,source=link,target=/cache",
        )


def test_a_cache_mount_is_not_shared_with_another_fleet(attacker: Attacker, other_attacker: Attacker) -> None:
    options = "--mount=type=cache,id=shared,sharing=shared,target=/cache"
    assert attacker.run("write", "/cache/word", "of main", options=options) == "written"
    assert attacker.run("read", "/cache/word", options=options) == "of main"

    assert other_attacker.run("read", "/cache/word", options=options).startswith("FileNotFoundError")


def test_a_step_does_not_reach_a_step_of_another_build(
    attacker: Attacker, make_pod_attacker: Callable[[str, Pod], Attacker], pod: Pod
) -> None:
    victim = make_pod_attacker("main", pod)
    with meanwhile(victim, attacker, "serve", "word") as (address, asked), let_through(pod, *FROM_STEPS):
        got = attacker.run("connect", address, "80")

    assert got.startswith("TimeoutError")
    assert asked.result() == ""


@pytest.fixture
def link_local_address(pod: Pod, got: Got) -> str:
    """The pod's address on the steps' bridge, which is there once a step has run."""
    assert got
    show = [*inside(pod), "ip", "-json", "-6", "address", "show", "dev", "buildkit0"]
    shown = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
    return str(shown[0]["addr_info"][0]["local"])


def test_a_step_does_not_reach_its_pod_over_ipv6(attacker: Attacker, link_local_address: str) -> None:
    assert attacker.run("connect", link_local_address, "1234").startswith("TimeoutError")


def test_without_the_rule_a_step_would_reach_its_pod_over_ipv6(
    attacker: Attacker, pod: Pod, link_local_address: str
) -> None:
    with let_through(pod, *FROM_STEPS, program="ip6tables"):
        assert attacker.run("connect", link_local_address, "1234") == "connected"


def test_nothing_listens_in_a_pod_but_the_daemon_and_the_agent(pod: Pod) -> None:
    # `ADD http://127.0.0.1...` is fetched by the daemon, in the pod's own network.
    shown = subprocess.run([*inside(pod), "ss", "-lntuH"], capture_output=True, text=True, check=True).stdout

    assert {line.split()[4].rpartition(":")[2] for line in shown.splitlines()} == {"1234", "1236"}


DEFINITIONS: dict[str, tuple[int, int | bytes, str]] = {
    "the node's network": (3, 1, "network.host is not allowed"),
    "no confinement": (4, 1, "security.insecure is not allowed"),
    "a device": (6, b"\x0a\x0avendor/x=y", 'required device "vendor/x=y" is not registered'),
    "nothing more": (3, 0, "no such file or directory"),  # nothing is wrong with it, but that there is no program
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_that_no_frontend_has_seen_gets_no_more(
    pod: Pod, pod_deployment: Deployment, tmp_path: Path, name: str
) -> None:
    field, value, words = DEFINITIONS[name]
    write_certificate(tmp_path, pod_deployment.client_certificate("main"))

    built = subprocess.run(
        [
            *("buildctl", f"--addr=tcp://{pod.endpoint}", f"--tlsservername={pod_deployment.domain_name('main')}"),
            *(f"--tls{option}={tmp_path / file}" for option, file in CERTIFICATE_FILES.items()),
            "build",
        ],
        input=definition(field, value),
        capture_output=True,
        check=False,
    )

    assert built.returncode != 0
    assert words in built.stderr.decode()


# What must work meanwhile.


def test_a_step_looks_names_up_and_reaches_the_internet(attacker: Attacker) -> None:
    with beyond("192.0.2.1", 80, HTTPServer, BaseHTTPRequestHandler):
        got = attacker.run_all([("connect", "192.0.2.1", "80"), ("look_up", "deb.debian.org")])

    assert got["connect", "192.0.2.1", "80"] == "connected"
    assert re.fullmatch(r"[0-9a-f.:]+", got["look_up", "deb.debian.org"])
