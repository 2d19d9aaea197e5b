"""What a linter for Kubernetes finds insecure in the manifests: this, for the reasons beside it, and nothing else."""

import copy
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.manifest_tools import install_linter
from tests.kubernetes_templates import manifest_files

CONTAINERS = ("agent", "buildkitd", "certificate", "network", "python")

ACCEPTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "container-security-context-privileged": (
        ("buildkitd",),
        "It mounts and makes namespaces. EKS Auto Mode has no user namespaces, so that nothing less will do.",
    ),
    "container-seccomp-profile": (("buildkitd",), "A privileged container has no profile. Its steps have BuildKit's."),
    "container-security-context-readonlyrootfilesystem": (
        ("buildkitd",),
        "BuildKit's image writes beside its store: the step runtime's files, CNI's and iptables' locks.",
    ),
    "container-security-context-user-group-id": (
        CONTAINERS,
        "BuildKit is root on its node. What is beside it shares its socket and its certificate, which are root's.",
    ),
    "container-resources": (
        CONTAINERS,
        "Limits of CPU would throttle builds on nodes where nothing else runs. Of memory there are limits.",
    ),
    "container-ephemeral-storage-request-and-limit": (
        CONTAINERS,
        "The nodes are the builders' own. What they write is the store, whose size BuildKit keeps.",
    ),
    "container-image-pull-policy": (CONTAINERS, "Images are named by digest: pulling them again brings the same."),
    "statefulset-has-host-podantiaffinity": (
        ("",),
        "They are spread over zones, and each fills a node of the default size. On a larger one two go with it.",
    ),
    "networkpolicy-targets-pod": (("",), "Of the driver's namespace, whose pods buildx makes."),
}
"""By check: the containers where it is found, none for the object itself, and why it stands."""


class Finding(NamedTuple):
    check: str
    container: str


def findings(linter: Path, manifests: Iterable[Mapping[str, Any]], directory: Path) -> set[Finding]:
    """Return what the linter finds in objects that are looked at together. JSON is YAML."""
    file = directory / "manifests.yaml"
    file.write_text("\n---\n".join(map(json.dumps, manifests)))
    completed = subprocess.run(
        [
            *(linter, "score", "--output-format", "json", "--kubernetes-version", "v1.34"),
            *("--enable-optional-test", "container-seccomp-profile", file),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout, completed.stderr
    return {
        Finding(check["check"]["id"], comment["path"])
        for each in json.loads(completed.stdout)
        for check in each["checks"]
        if not check["skipped"] and check["grade"] < 10  # its best
        for comment in check["comments"]
    }


@pytest.fixture(scope="module")
def linter() -> Path:
    return install_linter()


def test_the_linter_finds_what_is_accepted_and_nothing_else(linter: Path, tmp_path: Path) -> None:
    accepted = {Finding(check, container) for check, (containers, _) in ACCEPTED.items() for container in containers}

    assert findings(linter, manifest_files().values(), tmp_path) == accepted


@pytest.mark.parametrize(
    ("file", "change", "finding"),
    [
        (
            "stateful-set",
            {"image": "docker.io/moby/buildkit:latest"},
            Finding("container-image-tag", "buildkitd"),
        ),
        ("stateful-set", {"resources": {}}, Finding("container-resources", "buildkitd")),
        (
            "stateful-set",
            {"livenessProbe": None, "readinessProbe": None},
            Finding("pod-probes", ""),
        ),
    ],
)
def test_what_is_made_worse_is_found(
    linter: Path, file: str, change: Mapping[str, Any], finding: Finding, tmp_path: Path
) -> None:
    manifests = copy.deepcopy(manifest_files())
    container = manifests[file]["spec"]["template"]["spec"]["containers"][0]
    container |= change

    assert finding in findings(linter, manifests.values(), tmp_path)


def test_pods_without_a_network_policy_or_a_disruption_budget_are_found(linter: Path, tmp_path: Path) -> None:
    manifests = manifest_files()
    for file in ("network-policy", "network-policy-deny", "disruption-budget"):
        del manifests[file]
    manifests["stateful-set"]["spec"]["replicas"] = 2

    found = findings(linter, manifests.values(), tmp_path)

    assert {Finding("pod-networkpolicy", ""), Finding("statefulset-has-poddisruptionbudget", "")} <= found
