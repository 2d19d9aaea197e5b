"""BuildKit's store on real disks: the real unit, run by real systemd on a kernel that stripes, with links by real udev.

The machine is user-mode Linux (`local/virtual_machine`), as this one's kernel may lack striping. Its disks are no NVMe
devices: what they share with those of EC2 are the links that udev makes.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from local.toolchain import Toolchain
from local.virtual_machine import AVAILABLE, Disk, VirtualMachine

UNIT = "builder-store.service"
NVME = "disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{}-ns-1"
VOLUME = "sdb"

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="user-mode Linux, a kernel that stripes, is for x86_64")

IS_MOUNTED = """
systemctl is-active builder-store.service
cmp /etc/fstab /host/fstab
findmnt --raw --noheadings --output SOURCE,FSTYPE,OPTIONS /var/lib/buildkit
"""
IS_KEPT = IS_MOUNTED + "grep kept /var/lib/buildkit/layer\n"
IS_EMPTY = IS_MOUNTED + '[[ -z $(ls -A /var/lib/buildkit) ]]\necho "there is nothing in it"\n'
WRITE = "echo kept >/var/lib/buildkit/layer\nsync\n"
HAS_FAILED = """
systemctl is-failed builder-store.service
mountpoint /var/lib/buildkit && exit 1
journalctl --no-pager --output=cat --unit=builder-store.service
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, root: Path, toolchain: Toolchain) -> VirtualMachine:
    """A machine with the host files where a builder has them."""
    assert toolchain
    directory = tmp_path_factory.mktemp("machine")
    host = root / "constructs/cdk_buildkit/host"
    shutil.copy("/etc/fstab", directory)  # what no boot may change
    return VirtualMachine(directory, files={"/opt/cdk-buildkit": host, f"/etc/systemd/system/{UNIT}": host / UNIT})


@pytest.fixture(scope="module")
def first_boot(machine: VirtualMachine, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Disk], str]:
    """Two disks after the first boot with them, and what its check said."""
    disks = nvme_disks(tmp_path_factory.mktemp("disks"), 2)
    return disks, boot(machine, disks, IS_EMPTY + WRITE + "mdadm --detail --export /dev/md/buildkit\n")


@pytest.fixture
def striped(first_boot: tuple[list[Disk], str], tmp_path: Path) -> list[Disk]:
    """Two disks with a store on them."""
    return [replace(disk, image=Path(shutil.copy(disk.image, tmp_path))) for disk in first_boot[0]]


@pytest.fixture
def blank(tmp_path: Path) -> Disk:
    """A disk that was never written to."""
    return Disk(image=tmp_path / "blank", link=NVME.format("B"))


def nvme_disks(directory: Path, count: int) -> list[Disk]:
    """Disks of the instance's own, blank until they are written to."""
    return [Disk(image=directory / f"nvme{number}", link=NVME.format(number)) for number in range(count)]


def boot(machine: VirtualMachine, disks: Sequence[Disk], check: str) -> str:
    return machine.boot(disks, [UNIT], check)


def digests(disks: Sequence[Disk]) -> list[str]:
    """What is on disks, shortly."""
    digests = []
    for disk in disks:
        with disk.image.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def test_blank_disks_are_striped_at_the_first_boot_and_after_a_stop(first_boot: tuple[list[Disk], str]) -> None:
    _, said = first_boot

    assert "there is nothing in it" in said
    assert "xfs rw,noatime" in said
    assert "MD_LEVEL=raid0\nMD_DEVICES=2\n" in said


def test_a_reboot_keeps_the_stripe(machine: VirtualMachine, striped: list[Disk]) -> None:
    assert "\nkept\n" in boot(machine, striped, IS_KEPT)


def test_links_that_come_late_do_not_part_the_stripe(machine: VirtualMachine, striped: list[Disk]) -> None:
    late = replace(striped[1], seconds_late=4)

    assert "\nkept\n" in boot(machine, [striped[0], late], IS_KEPT)


def test_an_array_whose_other_disk_was_replaced_is_not_made_over(
    machine: VirtualMachine, striped: list[Disk], blank: Disk
) -> None:
    before = digests(striped)

    failed = boot(machine, [striped[0], blank], HAS_FAILED)

    assert "there is no store: what is on the disks is no array of all of them" in failed
    assert digests(striped) == before


def test_an_array_whose_other_disk_is_missing_is_not_made_over(machine: VirtualMachine, striped: list[Disk]) -> None:
    before = digests(striped)

    failed = boot(machine, striped[:1], HAS_FAILED)

    assert "was not made by a builder" in failed
    assert digests(striped) == before


def test_a_disk_more_than_the_array_has_does_not_cost_the_store(
    machine: VirtualMachine, striped: list[Disk], blank: Disk
) -> None:
    assert "\nkept\n" in boot(machine, [*striped, blank], IS_KEPT)


def test_one_disk_of_the_instance_is_the_store_by_itself(machine: VirtualMachine, blank: Disk) -> None:
    boot(machine, [blank], IS_EMPTY + WRITE + "[[ ! -e /dev/md ]]\n")

    assert "\nkept\n" in boot(machine, [blank], IS_KEPT)


def test_the_volume_is_waited_for_and_a_second_boot_keeps_the_store(machine: VirtualMachine, tmp_path: Path) -> None:
    volume = Disk(image=tmp_path / "volume", link=VOLUME, seconds_late=6)

    made = boot(machine, [volume], IS_EMPTY + WRITE)
    kept = boot(machine, [volume], IS_KEPT)

    assert "xfs rw,noatime" in made
    assert "\nkept\n" in kept


def test_the_instances_own_disk_goes_before_the_volume(machine: VirtualMachine, tmp_path: Path, blank: Disk) -> None:
    volume = Disk(image=tmp_path / "volume", link=VOLUME)

    assert "/dev/ubdb xfs" in boot(machine, [volume, blank], IS_EMPTY)


def test_without_any_disk_the_unit_fails_and_says_what_it_found(machine: VirtualMachine, tmp_path: Path) -> None:
    other = Disk(image=tmp_path / "other", link="disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123-ns-1")

    failed = boot(machine, [other], HAS_FAILED)

    assert "no NVMe disk of the instance, and no /dev/sdb in 30 s; found" in failed
    assert "nvme-Amazon_Elastic_Block_Store_vol0123-ns-1" in failed


@pytest.mark.parametrize("command", ["mkfs.ext4 -q", "mkfs.xfs -q -L other"], ids=["ext4", "another's xfs"])
def test_what_no_builder_made_is_left_as_it_is(machine: VirtualMachine, tmp_path: Path, command: str) -> None:
    volume = Disk(image=tmp_path / "volume", link=VOLUME)
    volume.make()
    subprocess.run([*command.split(), str(volume.image)], check=True)
    before = digests([volume])

    failed = boot(machine, [volume], HAS_FAILED)

    assert "was not made by a builder" in failed
    assert digests([volume]) == before


def test_a_store_that_does_not_mount_is_made_anew(machine: VirtualMachine, blank: Disk) -> None:
    boot(machine, [blank], IS_EMPTY + WRITE)
    with blank.image.open("r+b") as file:
        # All but the superblock, which has the label: as when the machine went off while the file system was made.
        file.seek(512)
        file.write(bytes(1024 * 1024))

    made = boot(machine, [blank], IS_EMPTY + f"journalctl --no-pager --output=cat --unit={UNIT}\n")

    assert "does not mount: making it anew" in made
