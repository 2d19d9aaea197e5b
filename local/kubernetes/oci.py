"""What a container runtime is told of a container: an OCI specification as containerd derives it. No input or output.

https://github.com/opencontainers/runtime-spec and containerd's documentation of its CRI plugin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.kubernetes.objects import KubernetesError, check_fields, quantity

NODE_MEMORY = 16 * 2**30
"""Of the node that is pretended, for the kubelet's own arithmetic."""

DEFAULT_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
CAPABILITIES = (  # in the kernel's order: https://github.com/torvalds/linux/blob/v6.1/include/uapi/linux/capability.h
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
_MASKED = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware")
_READ_ONLY = ("/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CPU_PERIOD = 100_000
_BURSTABLE_LEAST, _BEST_EFFORT, _GUARANTEED = 2, 1000, -997
_SECURITY_FIELDS = {
    *("privileged", "capabilities", "allowPrivilegeEscalation", "readOnlyRootFilesystem"),
    *("runAsUser", "runAsGroup", "runAsNonRoot"),
    *("seccompProfile", "appArmorProfile"),  # the machine's kernel need not have them
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device of the node: `kind` is `b` or `c`."""

    path: str
    kind: str
    major: int
    minor: int


@dataclass(frozen=True, kw_only=True)
class Security:
    """A container's security context, what the pod's says included.

    Args:
        privileged: Whether it has all the node's devices and every capability.
        capabilities: Without `CAP_`.
        no_new_privileges: Whether programs with the setuid bit give it no more.
        read_only_root: Whether its root file system cannot be written.
        user: Its user's id.
        group: Its group's id.
        groups: Further groups' ids.
    """

    privileged: bool
    capabilities: Sequence[str]
    no_new_privileges: bool
    read_only_root: bool
    user: int
    group: int
    groups: Sequence[int] = field(default_factory=list)

    @classmethod
    def of(cls, container: Mapping[str, Any], pod: Mapping[str, Any]) -> "Security":
        """Read a container's security context.

        Raises:
            KubernetesError: It contradicts itself, or has a field that has no meaning here.
        """
        name, common, own = container["name"], pod.get("securityContext", {}), container.get("securityContext", {})
        check_fields(own, _SECURITY_FIELDS, f"securityContext of {name}")
        check_fields(common, {*_SECURITY_FIELDS, "fsGroup", "fsGroupChangePolicy"}, "securityContext of the pod")
        given = {**common, **own}
        user = given.get("runAsUser", 0)
        if given.get("runAsNonRoot") and user == 0:
            raise KubernetesError(f"{name}: container has runAsNonRoot and image will run as root")
        privileged = given.get("privileged", False)
        wanted = given.get("capabilities", {})
        dropped, added = wanted.get("drop", []), wanted.get("add", [])
        kept = [] if "ALL" in dropped else [each for each in DEFAULT_CAPABILITIES if each not in dropped]
        return cls(
            privileged=privileged,
            capabilities=CAPABILITIES if privileged or "ALL" in added else [*kept, *(set(added) - set(kept))],
            no_new_privileges=not given.get("allowPrivilegeEscalation", True),
            read_only_root=given.get("readOnlyRootFilesystem", False),
            user=user,
            group=given.get("runAsGroup", 0),
            groups=[common["fsGroup"]] if "fsGroup" in common else [],
        )


def oom_score_adjustment(container: Mapping[str, Any], pod: Mapping[str, Any]) -> int:
    """Return the score that the kubelet gives a container, by its pod's quality of service.

    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior
    """
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    resources = [each.get("resources", {}) for each in containers]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return _BEST_EFFORT
    names = ("cpu", "memory")
    if all(
        name in each.get("limits", {}) and each.get("requests", each["limits"]).get(name) == each["limits"][name]
        for each in resources
        for name in names
    ):
        return _GUARANTEED
    own = container.get("resources", {})
    requested = quantity(own.get("requests", own.get("limits", {})).get("memory", 0))
    return int(min(max(_BURSTABLE_LEAST, 1000 - 1000 * requested / NODE_MEMORY), _BEST_EFFORT - 1))


def specification(
    *,
    root: str,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    directory: str,
    mounts: Sequence[Mapping[str, Any]],
    namespaces: Mapping[str, str],
    security: Security,
    resources: Mapping[str, Any],
    oom_score: int,
    cgroup: str,
    devices: Sequence[Device],
    capabilities: int,
) -> dict[str, Any]:
    """Return a container's specification.

    Args:
        root: Its root file system.
        arguments: What it runs.
        variables: Its environment.
        directory: Where it starts.
        mounts: What is mounted besides the usual.
        namespaces: Those that it shares with its pod, by type: the paths.
        security: Its security context.
        resources: Its `resources`.
        oom_score: Its score when memory runs out.
        cgroup: Its control group.
        devices: The node's, for a privileged container.
        capabilities: The node's own, a bit for each: it cannot give more.
    """
    own = {name for bit, name in enumerate(CAPABILITIES) if capabilities >> bit & 1}
    given = [f"CAP_{each}" for each in security.capabilities if each in own]
    privileged = security.privileged
    return {
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": security.read_only_root},
        "process": {
            "user": {"uid": security.user, "gid": security.group, "additionalGids": list(security.groups)},
            "args": list(arguments),
            "env": [f"{name}={value}" for name, value in variables.items()],
            "cwd": directory,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), given),
            "noNewPrivileges": security.no_new_privileges,
            "oomScoreAdj": oom_score,
        },
        "mounts": [*_usual_mounts(privileged=privileged), *mounts],
        "linux": {
            "namespaces": [
                {"type": "mount"},
                {"type": "pid"},
                *({"type": k, "path": p} for k, p in namespaces.items()),
            ],
            "cgroupsPath": cgroup,
            "resources": {
                "devices": [{"allow": privileged, "access": "rwm"}],
                **_limits(resources.get("limits", {})),
            },
            "devices": [
                {"path": each.path, "type": each.kind, "major": each.major, "minor": each.minor, "fileMode": 0o660}
                for each in (devices if privileged else ())
            ],
            "maskedPaths": [] if privileged else list(_MASKED),
            "readonlyPaths": [] if privileged else list(_READ_ONLY),
        },
    }


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "memory" in limits:
        found["memory"] = {"limit": int(quantity(limits["memory"]))}
    if "cpu" in limits:
        found["cpu"] = {"period": _CPU_PERIOD, "quota": int(quantity(limits["cpu"]) * _CPU_PERIOD)}
    return found


def _usual_mounts(*, privileged: bool) -> list[dict[str, Any]]:
    usual = ["nosuid", "noexec", "nodev"]
    # A privileged container has the node's own control groups before it; another one has its own alone.
    groups = (
        {"type": "bind", "source": "/sys/fs/cgroup", "options": ["rbind", "rw"]}
        if privileged
        else {"type": "cgroup", "source": "cgroup", "options": [*usual, "relatime", "ro"]}
    )
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": usual},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {
            "destination": "/dev/shm",  # noqa: S108 - the container's own
            "type": "tmpfs",
            "source": "shm",
            "options": [*usual, "mode=1777", "size=65536k"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": usual},
        # One file system for all containers of a pod: what is not to be written is said of the path.
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": usual},
        {"destination": "/sys/fs/cgroup", **groups},
    ]
