"""What an EC2 instance type is, told by its name: nothing is looked up."""

import re

from buildkit_ops.architecture import Architecture

DEFAULT_INSTANCE_TYPES = {
    Architecture.ARM64: ("c7gd.2xlarge", "m7gd.2xlarge", "c6gd.2xlarge", "m6gd.2xlarge"),
    Architecture.X86_64: ("c6id.2xlarge", "m6id.2xlarge", "c5d.2xlarge", "m5d.2xlarge"),
}
"""Compute and general purpose types with 8 vCPUs and local NVMe, the preferred first."""

WITHOUT_INSTANCE_STORE = {Architecture.ARM64: "c7g.2xlarge", Architecture.X86_64: "c6i.2xlarge"}
"""A type of each kind that has no local NVMe."""

_MOST_VCPUS = 896

_INSTANCE_TYPE = re.compile(
    r"(?P<family>[a-z]{1,8})(?P<generation>[0-9]{1,2})(?P<attributes>[a-z-]{0,16})\.[a-z0-9][a-z0-9-]{0,24}"
)
_WITH_INSTANCE_STORE = re.compile(r"(i[3-9]|i[ms][0-9]|d[3-9]).*|[a-z]+[0-9]+[a-z]*d[a-z]*")


def instance_type_architecture(name: str) -> Architecture | None:
    """Tell an instance type's architecture, or None where the name is not of an instance type for Linux.

    A `g` among the attributes after the generation is a Graviton processor, `c7gd`; the first of them, `a1`, has
    none. A `g` before it is a graphics family, `g5`, of either architecture
    (https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html). `mac` types run macOS.
    """
    match = _INSTANCE_TYPE.fullmatch(name)
    if not match or match["family"] == "mac":
        return None
    graviton = "g" in match["attributes"] or match["family"] == "a"
    return Architecture.ARM64 if graviton else Architecture.X86_64


def instance_family_architecture(name: str) -> Architecture | None:
    """Tell a family's architecture, of `c7gd` for example, or None where the name is not of a family for Linux."""
    return instance_type_architecture(f"{name}.large") if "." not in name else None


def has_instance_store(name: str) -> bool:
    """Tell whether an instance type surely has local NVMe.

    A `d` among the attributes says so, or a storage-optimized family (see the same page) but for the first ones,
    whose disks are no NVMe. A few others have it too; they get a volume that they do not use.
    """
    return bool(_WITH_INSTANCE_STORE.fullmatch(name.partition(".")[0]))


def vcpus(name: str) -> int:
    """Tell how many processors an instance type has, by its size; of bare metal, the most that any has."""
    size = name.partition(".")[2].removeprefix("metal-")
    match = re.fullmatch(r"(?P<times>[0-9]*)xlarge|(?P<times_of_metal>[0-9]+)xl", size)
    if match:
        return 4 * int(match["times"] or match["times_of_metal"] or 1)
    return _MOST_VCPUS if size == "metal" else 2
