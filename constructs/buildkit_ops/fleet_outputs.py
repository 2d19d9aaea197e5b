"""What a client knows about a fleet: the outputs of its stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheScope
from buildkit_ops.failures import ARCHITECTURE, NO_FLEET, ToolError


@dataclass(frozen=True, kw_only=True)
class FleetOutputs:
    """A fleet, as its stack describes it.

    Args:
        stack: The stack's name.
        write: The scope that it exports to.
        server_name: The name that its builders prove to have.
        certificate_secret: The secret with the client certificate.
        wake_function: The function that wakes it.
        cache_names_function: The function that says which cache to import.
        endpoints: Where the builders of each architecture are reached, as `tcp://host:port`.
    """

    stack: str
    write: CacheScope
    server_name: str
    certificate_secret: str
    wake_function: str
    cache_names_function: str
    endpoints: Mapping[Architecture, str]

    @classmethod
    def read(cls, stack: str, outputs: Mapping[str, str], *, in_cluster: bool = False) -> Self:
        """Read a stack's outputs.

        Args:
            stack: The stack's name.
            outputs: Its outputs.
            in_cluster: Take the services of the cluster where there is a load balancer too.

        Raises:
            ToolError: One is missing.
        """

        def output(*names: str) -> str:
            found = next((outputs[name] for name in names if name in outputs), None)
            if found is None:
                raise ToolError(NO_FLEET, stack=stack, output=" or ".join(names))
            return found

        kinds = ("Service",) if in_cluster else ("Endpoint", "Service")
        endpoints = {
            each: outputs[name]
            for each in Architecture
            if (
                name := next(
                    (f"{each.construct_id}{kind}" for kind in kinds if f"{each.construct_id}{kind}" in outputs), ""
                )
            )
        }
        if not endpoints:
            output(*(f"{each.construct_id}{kind}" for each in Architecture for kind in kinds))
        return cls(
            stack=stack,
            write=CacheScope(output("WriteScope")),
            server_name=output("DomainName", "ServerName"),
            certificate_secret=output("ClientCertificateSecret"),
            wake_function=output("WakeFunction"),
            cache_names_function=output("CacheNamesFunction"),
            endpoints=endpoints,
        )

    def only(self, architectures: tuple[Architecture, ...]) -> dict[Architecture, str]:
        """Return the endpoints of these architectures; of all, when none is named.

        Raises:
            ToolError: The fleet has no builders of one.
        """
        missing = [each for each in architectures if each not in self.endpoints]
        if missing:
            raise ToolError(ARCHITECTURE, stack=self.stack, has=", ".join(self.endpoints), given=missing[0])
        return {each: self.endpoints[each] for each in self.endpoints if not architectures or each in architectures}
