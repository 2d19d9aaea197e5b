"""The files that builders get as pods: those of a builder on EC2 that a pod needs, and the pods' own."""

import hashlib

from cdk_buildkit.builder_host import HOST_FILES
from cdk_buildkit.kubernetes_manifest import KubernetesManifest

POD_FILES = (
    "agent_rules.py",
    "aws_command.py",
    "build_records.py",
    "buildkit_metrics.py",
    "buildkitd.toml",
    "builds.py",
    "cni.conflist",
    "daemon_probe.py",
    "drain_rules.py",
    "fetch_certificate.py",
    "firewall-ipv6.rules",
    "firewall.rules",
    "health_server.py",
    "log.py",
    "observer.py",
    "pod_agent.py",
    "pod_buildkitd.sh",
    "pod_leave.sh",
    "pod_network.sh",
    "pod_python.py",
    "pod_step_runtime.sh",
    "publisher.py",
    "step_runtime.py",
)


def pod_files(namespace: str) -> KubernetesManifest:
    """Return the ConfigMap of the files."""
    manifest = KubernetesManifest("host-files")
    manifest.set("metadata/namespace", namespace)
    manifest.set("data", {name: (HOST_FILES / name).read_text() for name in POD_FILES})
    return manifest


def pod_files_sum() -> str:
    """Return what changes whenever one of the files does."""
    total = hashlib.sha256()
    for name in POD_FILES:
        total.update(hashlib.sha256((HOST_FILES / name).read_bytes()).digest())
    return total.hexdigest()
