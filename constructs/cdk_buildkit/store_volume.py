"""The gp3 volume that holds a builder's store when its instance type has no NVMe of its own."""

from dataclasses import dataclass

from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2

MOST_IOPS_PER_GIB = 500
LEAST_IOPS_PER_MIBPS = 4


@dataclass(frozen=True, kw_only=True)
class StoreVolume:
    """A gp3 volume: its size, and the speed that is paid for.

    Limits: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html

    Args:
        size: 20 GiB to 64 TiB.
        iops: 3,000 to 80,000, at most 500 for each GiB.
        throughput: MiB/s, 125 to 2,000, at most a quarter of `iops`.

    Raises:
        ValueError: A figure is outside those limits.
    """

    size: Size = Size.gibibytes(200)  # noqa: RUF009 - an immutable value
    iops: int = 6000
    throughput: int = 500

    def __post_init__(self) -> None:
        gib = int(self.size.to_gibibytes())
        limits = (
            ("size in GiB", gib, 20, 65536),
            ("iops", self.iops, 3000, min(80000, gib * MOST_IOPS_PER_GIB)),
            ("throughput in MiB/s", self.throughput, 125, min(2000, self.iops // LEAST_IOPS_PER_MIBPS)),
        )
        for what, given, least, most in limits:
            if not least <= given <= most:
                raise ValueError(f"a store volume's {what} is {least} to {most} here; got {given}: move it inside")

    def as_block_device(self, device_name: str) -> ec2.BlockDevice:
        """Return the volume as a launch template attaches it: encrypted, and gone with the instance."""
        return ec2.BlockDevice(
            device_name=device_name,
            volume=ec2.BlockDeviceVolume.ebs(
                int(self.size.to_gibibytes()),
                volume_type=ec2.EbsDeviceVolumeType.GP3,
                iops=self.iops,
                throughput=self.throughput,
                encrypted=True,
                delete_on_termination=True,
            ),
        )
