"""A builder's own volume: a file, behind a loop device that goes when nobody has it open or mounted any more."""

import errno
import fcntl
import os
import struct
from pathlib import Path

# From linux/loop.h.
_LOOP_CLR_FD = 0x4C01
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_LO_FLAGS_AUTOCLEAR = 4
_CONFIGURATION = struct.Struct("=II 52x I 176x 64x")  # the file and the block size, then a loop_info64 with its flags


class Volume:
    """A file as a block device.

    Args:
        file: Its content.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR)
        self.path, self._device = self._attach()

    def detach(self) -> None:
        """Take the device down: nobody may write to the file behind the next one's back."""
        fcntl.ioctl(self._device, _LOOP_CLR_FD)
        os.close(self._device)
        os.close(self._file)

    def _attach(self) -> tuple[Path, int]:
        while True:
            with Path("/dev/loop-control").open("rb+", buffering=0) as control:
                path = Path(f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}")
            device = os.open(path, os.O_RDWR)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, _CONFIGURATION.pack(self._file, 0, _LO_FLAGS_AUTOCLEAR))
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # somebody was faster
                    raise
            else:
                return path, device
