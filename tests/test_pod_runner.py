"""Pods that this machine runs as a kubelet would: their order, probes, hooks, restarts and bounds, with small programs.

Run in a sandbox: `python -m local.sandbox pytest tests/test_pod_runner.py`.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.kubernetes.images import Images
from local.kubernetes.network import PodNetwork
from local.kubernetes.objects import KubernetesError, Objects
from local.kubernetes.pod import Node, Pod
from local.kubernetes.pod_identity import ADDRESS, URL, PodIdentityAgent
from local.lab import Lab
from local.toolchain import Toolchain

PYTHON = "registry.example/aws/aws-cli@sha256:0"
BUILDKIT = "registry.example/moby/buildkit@sha256:0"
SERVICE = "import http.server; http.server.HTTPServer(('', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()"
NOTE = """
import signal, sys, time
def end(*_):
    print('told', time.time())
    sys.exit()
signal.signal(signal.SIGTERM, end)
"""
CREDENTIALS = {
    "AccessKeyId": "key",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2030-01-01T00:00:00Z",
}
OBJECTS = Objects(
    [
        {
            "kind": "ConfigMap",
            "metadata": {"name": "files", "namespace": "builders"},
            "data": {"words.txt": "of the config map"},
        },
        {
            "kind": "NetworkPolicy",
            "metadata": {"name": "egress", "namespace": "builders"},
            "spec": {
                "podSelector": {"matchLabels": {"bounded": "yes"}},
                "policyTypes": ["Egress"],
                "egress": [{"to": [{"ipBlock": {"cidr": f"{ADDRESS}/32"}}], "ports": [{"port": 80}]}],
            },
        },
    ]
)

_numbers = itertools.count(1)
NewPod = Callable[..., Pod]


@pytest.fixture(scope="module")
def node(lab: Lab, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    identity = PodIdentityAgent({("builders", "builder")}, lambda *_: CREDENTIALS, "eu-west-1")
    network = PodNetwork(lab.vpc, OBJECTS)
    yield Node(
        objects=OBJECTS,
        images=Images(toolchain),
        network=network,
        identity=identity,
        environment={},
        directory=tmp_path_factory.mktemp("pods"),
    )
    network.close()
    identity.close()


@pytest.fixture
def new_pod(node: Node) -> Iterator[NewPod]:
    pods: list[Pod] = []

    def new_pod(*containers: Mapping[str, Any], labels: Mapping[str, str] | None = None, **more: object) -> Pod:
        manifest = {
            "metadata": {"name": f"pod-{next(_numbers)}", "namespace": "builders", "labels": labels or {}},
            "spec": {
                "automountServiceAccountToken": False,
                "serviceAccountName": "builder",
                "terminationGracePeriodSeconds": 10,
                "containers": containers,
                **more,
            },
        }
        pods.append(Pod(node, manifest))
        pods[-1].start()
        return pods[-1]

    yield new_pod
    for pod in pods:
        if not pod.terminating.is_set():
            pod.remove()


def python(name: str, program: str, **more: object) -> dict[str, Any]:
    return {"name": name, "image": PYTHON, "command": ["python3", "-u", "-c", program], **more}


def time_of(pod: Pod, container: str, word: str) -> float:
    """When a container printed a word with the time after it."""
    (line,) = (line for line in printed(pod, container, word) if line.startswith(word))
    return float(line.split()[1])


def printed(pod: Pod, container: str, word: str) -> list[str]:
    """What a container has printed, once the word is among it."""
    until = time.monotonic() + 10
    while word not in (text := pod.runners[container].log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    return text.splitlines()


def test_init_containers_end_and_sidecars_have_started_before_what_follows(new_pod: NewPod) -> None:
    write = "import time; time.sleep(0.5); open('/shared/file', 'w').write('word'); print('written', time.time())"
    read = f"import time; print('read', time.time(), open('/shared/file').read()); {SERVICE}"
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    probe = {"startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}

    pod = new_pod(
        python("main", "import time; print('begun', time.time()); time.sleep(60)"),
        initContainers=[
            python("first", write, **mount),
            python("sidecar", read, restartPolicy="Always", **probe, **mount),
        ],
        volumes=[{"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
    )
    pod.wait_until_ready(10)

    assert time_of(pod, "first", "written") < time_of(pod, "sidecar", "read") < time_of(pod, "main", "begun")
    assert pod.runners["sidecar"].log_tail().endswith("word")


def test_a_failing_init_container_fails_the_pod(new_pod: NewPod) -> None:
    with pytest.raises(KubernetesError, match=r"init ended with code 3: why"):
        new_pod(python("main", SERVICE), initContainers=[python("init", "print('why'); raise SystemExit(3)")])


def test_a_sidecar_ends_after_the_containers_and_every_hook_begins_at_once(new_pod: NewPod) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook $(date +%s.%N) >/proc/1/fd/1; sleep 1"]}}}
    loop = f"{NOTE}print('up', 0)\nwhile True: time.sleep(60)"

    pod = new_pod(
        python("main", loop, lifecycle=hook),
        initContainers=[python("sidecar", loop, restartPolicy="Always", lifecycle=hook)],
    )
    pod.delete()

    began = time_of(pod, "main", "hook")
    assert time_of(pod, "sidecar", "hook") < time_of(pod, "main", "told")
    assert time_of(pod, "main", "told") - began > 0.9
    assert time_of(pod, "main", "told") <= time_of(pod, "sidecar", "told")


def test_what_does_not_heed_sigterm_is_killed_when_the_grace_period_is_over(new_pod: NewPod) -> None:
    pod = new_pod(python("main", "import time; time.sleep(60)"))  # the first process of a container gets no default

    assert 3 <= pod.delete(grace=3) < 30


def test_a_pod_is_ready_as_long_as_its_probe_succeeds_and_not_once_it_is_deleted(new_pod: NewPod) -> None:
    probe = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1, "failureThreshold": 1}
    pod = new_pod(
        python("main", SERVICE, readinessProbe=probe, ports=[{"name": "web", "containerPort": 8080}], workingDir="/opt")
    )
    pod.wait_until_ready(10)

    pod.runners["main"].running.signal("STOP")
    until = time.monotonic() + 10
    while pod.ready and time.monotonic() < until:
        time.sleep(0.1)

    assert not pod.ready
    pod.runners["main"].running.signal("CONT")
    pod.wait_until_ready(10)
    pod.terminating.set()
    assert not pod.ready


def test_a_container_that_is_not_live_is_ended_and_started_again(new_pod: NewPod) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "/shared/sick"]}, "periodSeconds": 1, "failureThreshold": 1}
    pod = new_pod(
        python(
            "main",
            f"{NOTE}print('up', time.time())\nwhile True: time.sleep(60)",
            livenessProbe=probe,
            volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
        ),
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    pod.runners["main"].running.execute(["touch", "/shared/sick"])
    until = time.monotonic() + 10
    while not pod.runners["main"].restarts and time.monotonic() < until:
        time.sleep(0.1)

    assert pod.runners["main"].restarts == 1
    assert "told" in pod.runners["main"].log.read_text()


def test_a_container_is_confined_as_its_security_context_says(new_pod: NewPod) -> None:
    pod = new_pod(
        python(
            "main",
            "import os, time\n"
            "print('user', os.getuid())\n"
            "print('bits', int([l for l in open('/proc/self/status') if l.startswith('CapEff')][0].split()[1], 16))\n"
            "print('locked', [l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')][0].split()[1])\n"
            "print('score', open('/proc/self/oom_score_adj').read())\n"
            "try: open('/etc/x', 'w')\n"
            "except OSError as error: print('error', error.errno)\n"
            "time.sleep(60)",
            securityContext={
                "runAsUser": 1000,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        ),
    )
    pod.wait_until_ready(10)

    found = dict(line.split() for line in printed(pod, "main", "error") if line)
    assert found == {"user": "1000", "bits": "0", "locked": "1", "score": "1000", "error": "30"}


def test_a_config_map_cannot_be_written_and_a_part_of_it_can_be_mounted(new_pod: NewPod) -> None:
    mounts = [
        {"name": "files", "mountPath": "/files"},
        {"name": "files", "mountPath": "/etc/words", "subPath": "words.txt", "readOnly": True},
    ]
    pod = new_pod(
        {"name": "main", "image": BUILDKIT, "command": ["sleep", "60"], "volumeMounts": mounts},
        volumes=[{"name": "files", "configMap": {"name": "files", "defaultMode": 0o555}}],
    )
    main = pod.runners["main"].running

    assert main.execute(["cat", "/files/words.txt"]).stdout == "of the config map"
    assert main.execute(["sh", "-c", "stat -L -c %a /etc/words; cat /etc/words"]).stdout == "555\nof the config map"
    assert "Read-only file system" in main.execute(["touch", "/files/other"]).stdout


def test_a_pod_gets_its_roles_credentials_for_its_token_until_it_is_gone(new_pod: NewPod) -> None:
    ask = (
        "import os, urllib.request as r; print(r.urlopen(r.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'],"
        "headers={'Authorization': open(os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']).read()})).read())"
    )
    pod = new_pod(python("main", SERVICE), labels={"bounded": "yes"})

    assert '"SecretAccessKey": "secret"' in pod.runners["main"].running.execute(["python3", "-c", ask]).stdout
    without = f"import urllib.request as r; r.urlopen('{URL}')"
    assert "401" in pod.runners["main"].running.execute(["python3", "-c", without]).stdout


def test_a_policy_keeps_a_pod_from_what_it_does_not_name(new_pod: NewPod) -> None:
    service = new_pod(python("main", SERVICE))
    connect = f"import socket; socket.create_connection(('{service.address}', 8080), 1)"
    bounded, free = (
        new_pod(python("main", SERVICE), labels=labels).runners["main"].running for labels in ({"bounded": "yes"}, {})
    )
    until = time.monotonic() + 10
    while (said := free.execute(["python3", "-c", connect]).stdout) and time.monotonic() < until:
        time.sleep(0.1)

    assert said == ""
    assert "timed out" in bounded.execute(["python3", "-c", connect]).stdout


def test_a_pod_with_the_apis_token_or_an_unknown_image_is_refused(node: Node, new_pod: NewPod) -> None:
    with pytest.raises(KubernetesError, match="automountServiceAccountToken must be false"):
        Pod(node, {"metadata": {"name": "p", "namespace": "builders"}, "spec": {"containers": []}})
    with pytest.raises(KubernetesError, match=r"there is no image alpine here"):
        new_pod({"name": "main", "image": "alpine"})


def test_nothing_of_a_pod_is_left(new_pod: NewPod) -> None:
    pod = new_pod(python("main", SERVICE))
    pod.delete(grace=2)

    assert sorted(path.suffix for path in pod.directory.iterdir()) == ["", "", ".conf", ".log"]
    assert not Path(f"/proc/{pod.process_id}").exists()
