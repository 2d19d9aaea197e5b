"""Reaching a builder of each architecture through Session Manager, on ports of this machine."""

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from buildkit_ops.account import Account
from buildkit_ops.architecture import Architecture
from buildkit_ops.connection import Connections
from buildkit_ops.failures import NO_FORWARD, NO_INSTANCE, NOT_REACHED, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.port_forward import PortForward, free_port, request, start
from buildkit_ops.reachability import SETTLING_SECONDS, shake_hands, wait_until_let_in
from buildkit_ops.waiting import Tell

_FORWARD_SECONDS = 15
_INTERVAL_SECONDS = 3
_LOG = "session-manager.log"


class SessionManager:
    """The forwarded ports of one connection.

    Args:
        account: The account.
        fleet: The fleet.
        builder: The builder's name.
        connections: Where the ports are kept.
    """

    def __init__(self, account: Account, fleet: FleetOutputs, builder: str, connections: Connections) -> None:
        self._account = account
        self._fleet = fleet
        self._builder = builder
        self._connections = connections
        self._certificate = connections.directory(builder)

    def reach(self, builders: Mapping[Architecture, Sequence[str]], *, tell: Tell) -> dict[Architecture, str]:
        """Let a port lead to a builder of each architecture, and return the endpoints.

        A port that leads to one already is left alone. One that no longer does leads to another afterwards.

        Args:
            builders: The ids of the instances in service.
            tell: Told what one waits for.

        Raises:
            ToolError: No builder was reached.
        """
        forwards = self._connections.forwards(self._builder)
        for architecture, instances in builders.items():
            if not instances:
                raise ToolError(NO_INSTANCE, stack=self._fleet.stack)
            former = forwards.get(architecture)
            if former and self._leads_to_a_builder(former):
                continue
            if former:
                self._end(former)
            self._forward(architecture, instances, former.port if former else free_port(), forwards, tell)
        return {each: forwards[each].endpoint for each in builders}

    def _leads_to_a_builder(self, forward: PortForward) -> bool:
        try:
            shake_hands(forward.endpoint, self._fleet.server_name, self._certificate)
        except ToolError as error:
            if error.failure is not NOT_REACHED:
                raise
            return False
        return True

    def _end(self, forward: PortForward) -> None:
        forward.end()
        with suppress(ToolError):  # a session whose instance is gone has ended
            self._account.end_session(forward.session)

    def _forward(
        self,
        architecture: Architecture,
        instances: Sequence[str],
        port: int,
        forwards: dict[Architecture, PortForward],
        tell: Tell,
    ) -> None:
        until = time.monotonic() + SETTLING_SECONDS
        while True:
            for instance in random.sample(instances, len(instances)):
                tell(f"forwarding a port to {instance} through Session Manager")
                asked = request(instance, port)
                answer = self._account.start_session(asked)
                reason = "its agent is not connected"
                if answer:
                    forwards[architecture] = forward = start(
                        asked,
                        answer,
                        region=self._account.region,
                        profile=self._account.profile,
                        endpoint_url=answer["Endpoint"],
                        log=self._certificate / _LOG,
                    )
                    self._connections.keep_forwards(self._builder, forwards)
                    try:
                        wait_until_let_in(
                            forward.endpoint,
                            self._fleet.server_name,
                            self._certificate,
                            tell=tell,
                            seconds=_FORWARD_SECONDS,
                        )
                    except ToolError as error:
                        if error.failure is not NOT_REACHED:
                            raise
                        self._end(forward)
                        reason = str(error)
                    else:
                        return
            if time.monotonic() >= until:
                raise ToolError(NO_FORWARD, instance=instance, reason=reason, log=self._certificate / _LOG)
            time.sleep(_INTERVAL_SECONDS)
