"""What a builder that is a pod asks for, and where it keeps its store."""

from dataclasses import dataclass
from enum import StrEnum

from aws_cdk import Size


class PodStore(StrEnum):
    """Where a pod keeps its store.

    `VOLUME` is an EBS volume of its own, which a pod that is replaced finds again. `EPHEMERAL` is the node's own
    disk, and gone with the pod.
    """

    VOLUME = "volume"
    EPHEMERAL = "ephemeral"


@dataclass(frozen=True, kw_only=True)
class PodResources:
    """What one builder asks of its node. The defaults fill a node of 8 vCPUs and 16 GiB.

    Args:
        cpu: Processors that are kept for it. It may use more, where the node has more to spare.
        memory: Memory that it gets, and no more: a step that wants more is killed.

    Raises:
        ValueError: A figure is not positive.
    """

    cpu: float = 7.0
    memory: Size = Size.gibibytes(12)  # noqa: RUF009 - an immutable value

    def __post_init__(self) -> None:
        if self.cpu <= 0 or self.memory.to_mebibytes() < 1024:  # noqa: PLR2004 - MiB of a GiB
            raise ValueError(
                "a builder asks for more than no processor and for 1 GiB of memory or more; got "
                f"{self.cpu:g} and {self.memory.to_mebibytes():g} MiB: raise them"
            )

    @property
    def cpu_quantity(self) -> str:
        """The processors as Kubernetes writes them."""
        return f"{round(self.cpu * 1000)}m"

    @property
    def memory_quantity(self) -> str:
        """The memory as Kubernetes writes it."""
        return f"{round(self.memory.to_mebibytes())}Mi"
