"""What runners run on, and how large they are: EC2, Fargate or CodeBuild."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration, Size

from buildkit_ops.architecture import Architecture
from cdk_buildkit.instance_types import instance_type_architecture

COMPUTE_TYPES = ("small", "medium", "large", "2xlarge")
"""CodeBuild's sizes: 2, 4, 8 and 72 processors
(https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-compute-types.html)."""

FARGATE_MEMORY: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
"""The MiB of memory that a task may have with so many CPU units
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html)."""

FARGATE_STORAGE_GIB = (21, 200)
"""The least and the most that a task's own storage can be set to, in GiB."""

DEFAULT_INSTANCE_TYPES = {Architecture.ARM64: "m7g.large", Architecture.X86_64: "m7i.large"}
"""What a runner on EC2 runs on: it sends what is to be built, and others build it."""


@dataclass(frozen=True, kw_only=True)
class Ec2Runners:
    """Runners that are EC2 instances, one for each job.

    Args:
        instance_type: Its name; it tells the architecture too.
        storage: The size of the root volume.
        spot: Ask for spot capacity first, and launch on demand where there is none.

    Raises:
        ValueError: The name is no instance type's.
    """

    instance_type: str = DEFAULT_INSTANCE_TYPES[Architecture.X86_64]
    storage: Size = Size.gibibytes(30)  # noqa: RUF009 - an immutable value
    spot: bool = False

    def __post_init__(self) -> None:
        if not instance_type_architecture(self.instance_type):
            raise ValueError(
                f"runners run on an instance type for Linux; got {self.instance_type!r}: write family and size as EC2 "
                "does, for example m7i.large"
            )

    @property
    def architecture(self) -> Architecture:
        """The instance type's."""
        architecture = instance_type_architecture(self.instance_type)
        assert architecture  # noqa: S101 - checked when it was made
        return architecture


@dataclass(frozen=True, kw_only=True)
class FargateRunners:
    """Runners that are Fargate tasks, one for each job. They run no containers of their own.

    Args:
        architecture: Their processors' architecture.
        cpu: CPU units of a task, 1024 for a processor.
        memory: Its memory, one of the sizes that Fargate has for `cpu`.
        storage: Its storage, 21 to 200 GiB.
        spot: Ask for spot capacity first, and take other where there is none.

    Raises:
        ValueError: Fargate has no such task.
    """

    architecture: Architecture = Architecture.X86_64
    cpu: int = 1024
    memory: Size = Size.mebibytes(2048)  # noqa: RUF009 - an immutable value
    storage: Size = Size.gibibytes(25)  # noqa: RUF009 - an immutable value
    spot: bool = False

    def __post_init__(self) -> None:
        memory, storage = int(self.memory.to_mebibytes()), int(self.storage.to_gibibytes())
        if memory not in FARGATE_MEMORY.get(self.cpu, ()):
            raise ValueError(
                f"Fargate has tasks of {', '.join(map(str, FARGATE_MEMORY))} CPU units, each with some sizes of "
                f"memory; got {self.cpu} with {memory} MiB: take for example 1024 with 2048 MiB"
            )
        least, most = FARGATE_STORAGE_GIB
        if not least <= storage <= most:
            raise ValueError(f"a Fargate task has {least} to {most} GiB of storage; got {storage}: change it")


@dataclass(frozen=True, kw_only=True)
class CodeBuildRunners:
    """Runners that are CodeBuild builds, one for each job.

    Args:
        architecture: Their processors' architecture.
        compute_type: Their size: `small`, `medium`, `large` or `2xlarge`.
        timeout: The longest job, up to 8 hours.

    Raises:
        ValueError: There is no such size.
    """

    architecture: Architecture = Architecture.X86_64
    compute_type: str = COMPUTE_TYPES[0]
    timeout: Duration = Duration.hours(1)  # noqa: RUF009 - an immutable value

    def __post_init__(self) -> None:
        if self.compute_type not in COMPUTE_TYPES:
            raise ValueError(
                f"CodeBuild's compute types are {', '.join(COMPUTE_TYPES)}; got {self.compute_type!r}: take one of them"
            )


RunnerCompute = Ec2Runners | FargateRunners | CodeBuildRunners
"""What runners run on."""
