"""What a boot asks the package manager for, and that the host files name nothing on the internet."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from local.sandbox import in_sandbox

NVME = "dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{}-ns-1"
# Writes down what it is asked for, and ends the boot there.
DNF = '#!/bin/bash\necho "$*" >/dnf.log\nexit 1\n'


@pytest.fixture
def throw_away_root(tmp_path: Path, root: Path) -> Path:
    """A root with the host files and this machine's libraries, where PATH has what the AMI is known to have."""
    if not in_sandbox():
        pytest.skip("a root of its own needs a sandbox: run `make test`, or `python -m local.sandbox pytest`")
    for name in ("dev", "usr", "path"):
        (tmp_path / name).mkdir()
    for name in ("bin", "lib", "lib64"):
        (tmp_path / name).symlink_to(f"usr/{name}")
    shutil.copytree(root / "constructs/cdk_buildkit/host", tmp_path / "opt/cdk-buildkit")
    add(tmp_path, "dnf", DNF)
    add(tmp_path, "dirname")
    return tmp_path


def add(root: Path, program: str, script: str | None = None) -> None:
    """Put a program of this machine, or a script, on PATH."""
    path = root / "path" / program
    if script is None:
        path.symlink_to(f"/usr/bin/{program}")
    else:
        path.write_text(script)
        path.chmod(0o755)


def requested(root: Path, *, programs: Sequence[str] = (), disks: int = 0) -> list[str] | None:
    """Run the bootstrap in a root, as far as it gets, and return the packages that it asks for; None for no request."""
    for program in programs:
        add(root, program, "#!/bin/bash\n")
    for number in range(disks):
        disk = root / NVME.format(number)
        disk.parent.mkdir(parents=True, exist_ok=True)
        disk.touch()
    bootstrap = f"chroot {root} /usr/bin/env PATH=/path /usr/bin/bash /opt/cdk-buildkit/bootstrap.sh"
    run = f"mount --bind /usr {root}/usr && {bootstrap}"
    ended = subprocess.run(["unshare", "--mount", "sh", "-c", run], check=False, capture_output=True, text=True)
    assert ended.returncode != 0
    log = root / "dnf.log"
    if not log.exists():
        return None
    assert re.search(r"bootstrap\.sh failed in line \d+: dnf install", ended.stderr)
    return [word for word in log.read_text().split() if not word.startswith("--") and word != "install"]


def test_the_packet_filter_and_git_are_installed_where_they_are_missing(throw_away_root: Path) -> None:
    assert requested(throw_away_root) == ["iptables-nft", "git-core"]


@pytest.mark.parametrize("disks", [0, 1])
def test_striping_is_not_installed_where_there_is_nothing_to_stripe(throw_away_root: Path, disks: int) -> None:
    assert requested(throw_away_root, disks=disks) == ["iptables-nft", "git-core"]


def test_striping_is_installed_where_the_instance_has_several_disks(throw_away_root: Path) -> None:
    assert requested(throw_away_root, disks=2) == ["iptables-nft", "git-core", "mdadm"]


def test_only_what_is_missing_is_installed(throw_away_root: Path) -> None:
    assert requested(throw_away_root, programs=["iptables", "git"], disks=4) == ["mdadm"]


def test_nothing_is_asked_for_where_the_image_has_it_all(throw_away_root: Path) -> None:
    assert requested(throw_away_root, programs=["iptables", "git", "mdadm"], disks=4) is None


def test_host_files_name_no_host_but_the_metadata_service(root: Path) -> None:
    # Comments, docstrings and a unit's Documentation may say where a fact comes from.
    where_from = re.compile(r"^\s*(#|Source: |Documentation=|\(?https://docs\.aws\.amazon\.com/)")
    named = {
        (path.name, host)
        for path in (root / "constructs/cdk_buildkit/host").iterdir()
        if path.is_file()
        for line in path.read_text().splitlines()
        if not where_from.match(line)
        for host in re.findall(r"\b(?:https?|ftp)://([^/\s\"']+)", line)
    }

    assert {host for _, host in named} == {"169.254.169.254"}
