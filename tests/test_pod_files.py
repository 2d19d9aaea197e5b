"""What builders get as pods: the files of a builder on EC2, and scripts that start, leave and run steps in a pod."""

import ast
import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from cdk_buildkit.builder_host import HOST_FILES
from cdk_buildkit.host import pod_python
from cdk_buildkit.kubernetes_manifest import KubernetesManifest
from cdk_buildkit.pod_files import POD_FILES, pod_files, pod_files_sum

SPECIFICATION = {
    "process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"]}},
    "linux": {"resources": {}},
}


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_pod_gets_the_files_of_the_host_byte_for_byte() -> None:
    document = pod_files("buildkit-main").document

    assert document["metadata"]["namespace"] == "buildkit-main"
    assert document["data"] == {name: (HOST_FILES / name).read_text() for name in POD_FILES}


def test_every_file_of_pods_is_among_them() -> None:
    assert {path.name for path in HOST_FILES.glob("pod_*")} <= set(POD_FILES)


def test_every_module_that_one_of_the_files_imports_is_among_them() -> None:
    wanted = {
        f"{module}.py"
        for name in POD_FILES
        if name.endswith(".py")
        for node in ast.walk(ast.parse((HOST_FILES / name).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
        for module in ([node.module] if node.module else [each.name for each in node.names])
    }

    assert wanted <= set(POD_FILES)
    assert "publisher.py" in wanted


def test_every_file_that_the_pod_names_is_among_them() -> None:
    text = json.dumps(KubernetesManifest("stateful-set").document)
    scripts = "".join((HOST_FILES / name).read_text() for name in POD_FILES if name.startswith("pod_"))

    named = {word.partition('"')[0] for word in text.split("/opt/cdk_buildkit_host/")[1:]}
    named |= {word.split('"')[0].split()[0] for word in scripts.split("/opt/cdk_buildkit_host/")[1:]}
    assert named == {
        "fetch_certificate.py",
        "pod_buildkitd.sh",
        "pod_leave.sh",
        "pod_network.sh",
        "pod_python.py",
        "step_runtime.py",
    }
    assert named <= set(POD_FILES)


def test_the_sum_of_the_files_changes_with_any_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = pod_files_sum()
    for name in POD_FILES:
        (tmp_path / name).write_bytes((HOST_FILES / name).read_bytes())
    monkeypatch.setattr("cdk_buildkit.pod_files.HOST_FILES", tmp_path)
    assert pod_files_sum() == before

    (tmp_path / "cni.conflist").write_text("{}")

    assert pod_files_sum() != before


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this machine's own Python, as the pod's first container makes it."""
    directory = tmp_path_factory.mktemp("programs") / "python"
    subprocess.run(["/usr/bin/python3", HOST_FILES / "pod_python.py", directory], check=True)
    return directory


def test_the_runtime_of_steps_takes_nothing_from_where_its_python_came(python: Path, tmp_path: Path) -> None:
    (tmp_path / "step_runtime.py").write_text(
        "import json, os, sys\n"
        "opened = [line.split()[-1] for line in open('/proc/self/maps') if '.so' in line or 'python' in line]\n"
        "print(json.dumps([sorted({*opened, os.__file__, json.__file__}), sys.argv[1:]]))\n"
    )
    wrapper = (HOST_FILES / "pod_step_runtime.sh").read_text()
    wrapper = wrapper.replace("/opt/cdk-buildkit/python", str(python)).replace("/opt/cdk_buildkit_host", str(tmp_path))
    runtime = program(tmp_path / "buildkit-step-runtime", wrapper)

    said = subprocess.run([runtime, "a b"], env={}, check=True, capture_output=True, text=True).stdout

    files, arguments = json.loads(said)
    assert [path for path in files if not path.startswith(str(python))] == []
    assert len(files) > 5
    assert arguments == ["a b"]


def test_the_runtime_of_steps_runs_with_the_copied_python(python: Path, tmp_path: Path) -> None:
    wrapper = (HOST_FILES / "pod_step_runtime.sh").read_text()
    wrapper = wrapper.replace("/opt/cdk-buildkit/python", str(python)).replace(
        "/opt/cdk_buildkit_host", str(HOST_FILES)
    )
    runtime = program(tmp_path / "buildkit-step-runtime", wrapper)
    runc = program(tmp_path / "runc", '#!/bin/sh\necho "$@" "$(cat /proc/self/oom_score_adj)"\n')
    (tmp_path / "config.json").write_text(json.dumps(SPECIFICATION))

    said = subprocess.run(
        [runtime, "run", "--bundle", tmp_path, "id of a step"],
        env={"PATH": os.defpath, "BUILDKIT_RUNC": str(runc), "STEP_MEMORY_BYTES": "1024"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert said == f"run --bundle {tmp_path} id of a step 1000\n"
    changed = json.loads((tmp_path / "config.json").read_text())
    assert changed["process"]["capabilities"]["bounding"] == ["CAP_CHOWN"]
    assert changed["linux"]["resources"] == {
        "pids": {"limit": 16384},
        "memory": {"limit": 1024, "swap": 1024},
    }


def test_libraries_are_copied_by_every_name_that_they_have(tmp_path: Path) -> None:
    (tmp_path / "libx.so.1.2").touch()
    (tmp_path / "libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "liby.so.1").touch()

    assert pod_python.names_of(tmp_path / "libx.so.1.2") == ["libx.so.1", "libx.so.1.2"]


@pytest.mark.parametrize(
    ("cgroup", "parent"),
    [
        ("/kubepods.slice/kubepods-podx.slice/cri-containerd-x.scope", "/kubepods.slice/kubepods-podx.slice"),
        ("/", "/"),
    ],
)
def test_the_daemon_has_the_configuration_of_ec2_and_its_steps_beside_the_containers_own_cgroup(
    tmp_path: Path, cgroup: str, parent: str
) -> None:
    program(tmp_path / "buildkitd", '#!/bin/sh\necho "$@"\n')
    (tmp_path / "leaving").touch()
    (tmp_path / "cgroup").write_text(f"4:memory:/other\n0::{cgroup}\n")

    said = subprocess.run(
        ["/bin/sh", HOST_FILES / "pod_buildkitd.sh", HOST_FILES / "buildkitd.toml", tmp_path, tmp_path / "cgroup"],
        env={"PATH": f"{tmp_path}:{os.defpath}", "MAX_PARALLELISM": "3"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert said == f"--config {tmp_path}/buildkitd.toml --oci-max-parallelism 3\n"
    settings = tomllib.loads((tmp_path / "buildkitd.toml").read_text())
    assert settings["worker"]["oci"].pop("defaultCgroupParent") == parent
    assert settings == tomllib.loads((HOST_FILES / "buildkitd.toml").read_text())
    assert not (tmp_path / "leaving").exists()


def test_a_pod_that_leaves_says_so_and_serves_on_for_the_time_that_it_is_given(tmp_path: Path) -> None:
    program(tmp_path / "sleep", f'#!/bin/sh\nls {tmp_path}/leaving\necho "$@"\n')

    said = subprocess.run(
        ["/bin/sh", HOST_FILES / "pod_leave.sh", tmp_path],
        env={"PATH": f"{tmp_path}:{os.defpath}", "SETTLING_SECONDS": "120"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert said == f"{tmp_path}/leaving\n120\n"


def test_the_firewall_stands_before_the_daemon_and_the_plugins_have_their_names(tmp_path: Path) -> None:
    script = (HOST_FILES / "pod_network.sh").read_text()
    script = script.replace("/opt/cdk_buildkit_host", str(HOST_FILES)).replace("/opt/cdk-buildkit", str(tmp_path))
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name in ("iptables-restore", "ip6tables-restore"):
        program(bin_directory / name, f'#!/bin/sh\n{{ echo "$@"; cat; }} >>{tmp_path}/{name}\n')
    for name in ("buildctl", *(f"buildkit-cni-{each}" for each in ("bridge", "firewall", "host-local", "loopback"))):
        program(bin_directory / name, "#!/bin/sh\n")
    path = program(tmp_path / "network.sh", script)

    subprocess.run([path], env={"PATH": f"{bin_directory}:{os.defpath}"}, check=True)

    assert (tmp_path / "iptables-restore").read_text() == "--noflush\n" + (HOST_FILES / "firewall.rules").read_text()
    assert (tmp_path / "cni" / "host-local").readlink() == bin_directory / "buildkit-cni-host-local"
    assert os.access(tmp_path / "buildctl", os.X_OK)
