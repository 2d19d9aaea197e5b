"""A TCP load balancer that treats flows as a network load balancer does, by its target group's own attributes."""

import asyncio
import itertools
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

_CHUNK = 65536
_CHECK_SECONDS = 2
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class TargetGroupAttributes:
    """What becomes of the flows of a target that leaves or fails; times in seconds.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html
    """

    deregistration_delay: float = 300
    terminate_deregistered: bool = False
    terminate_unhealthy: bool = True
    unhealthy_draining_interval: float = 0

    @classmethod
    def from_mapping(cls, given: Mapping[str, str]) -> Self:
        """Read a target group's attributes; what they do not say is as AWS has it."""
        unhealthy = "target_health_state.unhealthy"
        return cls(
            deregistration_delay=float(given.get("deregistration_delay.timeout_seconds", "300")),
            terminate_deregistered=given.get("deregistration_delay.connection_termination.enabled") == "true",
            terminate_unhealthy=given.get(f"{unhealthy}.connection_termination.enabled", "true") == "true",
            unhealthy_draining_interval=float(given.get(f"{unhealthy}.draining_interval_seconds", "0")),
        )


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """How targets are asked whether they take new flows. By HTTP on a port and path; without a path, a TCP connect.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
    """

    path: str | None = None
    port: int | None = None
    interval: float = 30
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    matcher: str = "200-399"

    @classmethod
    def from_target_group(cls, group: Mapping[str, Any]) -> Self:
        """Read what a target group declares, as DescribeTargetGroups words it."""
        http = group["HealthCheckProtocol"] == "HTTP"
        return cls(
            path=group["HealthCheckPath"] if http else None,
            port=None if group["HealthCheckPort"] == "traffic-port" else int(group["HealthCheckPort"]),
            interval=group["HealthCheckIntervalSeconds"],
            healthy_threshold=group["HealthyThresholdCount"],
            unhealthy_threshold=group["UnhealthyThresholdCount"],
            matcher=group["Matcher"]["HttpCode"] if http else "",
        )

    def accepts(self, status: int) -> bool:
        """Tell whether an answer means that the target is healthy."""
        ranges = (each.partition("-") for each in self.matcher.split(","))
        return any(int(least) <= status <= int(most or least) for least, _, most in ranges)


@dataclass
class _Target:
    host: str
    port: int
    healthy: bool = False
    streak: int = 0
    unhealthy_since: float | None = None
    deregistered_since: float | None = None
    flows: set[asyncio.StreamWriter] = field(default_factory=set)


class Balancer:
    """Listens until it is closed. Its targets are known by an id, as instances are.

    Args:
        host: The address to listen on.
        port: The port.
        attributes: The target group's.
        health_check: The target group's.
        propagation_seconds: How long a deregistered target still gets new flows, as with the real one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        attributes: TargetGroupAttributes,
        *,
        health_check: HealthCheck,
        propagation_seconds: float = 1.0,
    ) -> None:
        self._attributes = attributes
        self._health_check = health_check
        self._propagation_seconds = propagation_seconds
        self._targets: dict[str, _Target] = {}
        self._turns = itertools.count()
        self.killed_flows = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, host, port))
        asyncio.run_coroutine_threadsafe(self._check_for_ever(), self._loop)

    def register(self, target: str, host: str, port: int) -> None:
        """Take a target in; it gets flows once it is healthy."""
        self._targets[target] = _Target(host, port)

    def deregister(self, target: str) -> None:
        """Send a target no new flows from soon on; does nothing when it is not there."""
        if target in self._targets and self._targets[target].deregistered_since is None:
            self._targets[target].deregistered_since = time.monotonic()

    @property
    def targets(self) -> list[str]:
        """The targets that are registered."""
        return [name for name, target in list(self._targets.items()) if target.deregistered_since is None]

    def state(self, target: str) -> str:
        """Return the state that DescribeTargetHealth would name."""
        known = self._targets.get(target)
        if known is None:
            return "unused"
        if known.deregistered_since is not None:
            elapsed = time.monotonic() - known.deregistered_since
            return "draining" if elapsed < self._attributes.deregistration_delay else "unused"
        if known.healthy:
            return "healthy"
        return "initial" if known.unhealthy_since is None else "unhealthy"

    def wait_until_healthy(self, target: str, seconds: float = 60) -> None:
        """Wait for a target.

        Raises:
            TimeoutError: It did not become healthy.
        """
        until = time.monotonic() + seconds
        while self.state(target) != "healthy":
            if time.monotonic() > until:
                raise TimeoutError(f"{target} is {self.state(target)} after {seconds} s")
            time.sleep(0.05)

    def close(self) -> None:
        """Cut every flow and stop listening."""

        async def end() -> None:
            self._server.close()
            for target in self._targets.values():
                self._kill(target)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _accept(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        takers = [target for target in list(self._targets.values()) if self._takes_new_flows(target)]
        # Fails open, as the real one does when no target is healthy.
        takers = takers or [target for target in list(self._targets.values()) if target.deregistered_since is None]
        if not takers:
            client_writer.transport.abort()
            return
        target = takers[next(self._turns) % len(takers)]
        try:
            reader, writer = await asyncio.open_connection(target.host, target.port)
        except OSError:
            client_writer.transport.abort()
            return
        target.flows |= {client_writer, writer}
        await asyncio.gather(_pump(client_reader, writer), _pump(reader, client_writer))
        target.flows -= {client_writer, writer}
        for each in (client_writer, writer):
            each.close()

    def _takes_new_flows(self, target: _Target) -> bool:
        if target.deregistered_since is None:
            return target.healthy
        return time.monotonic() < target.deregistered_since + self._propagation_seconds

    async def _check_for_ever(self) -> None:
        while True:
            for target in list(self._targets.values()):
                await self._check(target)
                self._apply_attributes(target)
            await asyncio.sleep(self._health_check.interval)

    async def _check(self, target: _Target) -> None:
        answers = await self._answers(target)
        target.streak = 0 if answers == target.healthy else target.streak + 1
        needed = self._health_check.healthy_threshold if answers else self._health_check.unhealthy_threshold
        if target.streak == needed:
            target.streak = 0
            target.healthy = answers
            target.unhealthy_since = None if answers else time.monotonic()

    async def _answers(self, target: _Target) -> bool:
        check = self._health_check
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                reader, writer = await asyncio.open_connection(target.host, check.port or target.port)
                try:
                    if check.path is None:
                        return True
                    writer.write(
                        f"GET {check.path} HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n\r\n".encode()
                    )
                    status = await reader.readline()
                    return check.accepts(int(status.split()[1]))
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError, IndexError):
            return False

    def _apply_attributes(self, target: _Target) -> None:
        now = time.monotonic()
        attributes = self._attributes
        if target.unhealthy_since is not None and (
            attributes.terminate_unhealthy or now > target.unhealthy_since + attributes.unhealthy_draining_interval
        ):
            self._kill(target)
        if (
            target.deregistered_since is not None
            and attributes.terminate_deregistered
            and now > target.deregistered_since + attributes.deregistration_delay
        ):
            self._kill(target)

    def _kill(self, target: _Target) -> None:
        for writer in target.flows:
            self.killed_flows += 1
            writer.transport.abort()
        target.flows = set()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()  # what one end resets is reset at the other: half of a flow would count as a build
