"""The two processor architectures, by every name that AWS, BuildKit and the fleet give them."""

from enum import StrEnum


class Architecture(StrEnum):
    """A builder's processor architecture, by AWS's name."""

    ARM64 = "arm64"
    X86_64 = "x86_64"

    @property
    def oci_name(self) -> str:
        """The name in OCI images and in the file names of releases: `arm64`, `amd64`."""
        return {Architecture.ARM64: "arm64", Architecture.X86_64: "amd64"}[self]

    @property
    def platform(self) -> str:
        """The value of `--platform`: `linux/arm64`, `linux/amd64`."""
        return f"linux/{self.oci_name}"

    @property
    def port(self) -> int:
        """The fleet's port for builders of this architecture."""
        return {Architecture.ARM64: 1235, Architecture.X86_64: 1234}[self]

    @property
    def construct_id(self) -> str:
        """The part of a construct's id that tells the architectures apart: `Arm64`, `X8664`."""
        return self.value.replace("_", "").capitalize()

    @property
    def kubernetes_name(self) -> str:
        """The part of an object's name in Kubernetes that tells the architectures apart: `arm64`, `x86-64`."""
        return self.value.replace("_", "-")
