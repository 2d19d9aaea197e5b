"""Connecting a machine to a fleet, and taking that back: nothing else knows how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from buildkit_ops.account import Account
from buildkit_ops.architecture import Architecture
from buildkit_ops.buildx import Buildx
from buildkit_ops.connection import Connections, Origin, check_builder_name
from buildkit_ops.failures import THROUGH_SSM, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.port_forward import check_plugin
from buildkit_ops.reachability import wait_until_let_in
from buildkit_ops.session_manager import SessionManager
from buildkit_ops.waiting import Tell, wait_for_builders


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A builder of buildx that is a fleet.

    Args:
        builder: Its name.
        stack: The fleet's stack.
        certificate_directory: Where the client certificate is.
        nodes: The endpoint, and the BuildKit that answered there, of each architecture.
        used: Whether it is buildx's default.
    """

    builder: str
    stack: str
    certificate_directory: str
    nodes: Mapping[Architecture, Mapping[str, str]]
    used: bool


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be connected.

    Args:
        builder: The name that the builder gets.
        architectures: Which builders. Default: those of every architecture that the fleet has.
        waiting_jobs: For how many jobs of each architecture the fleet is woken; 0: it is not woken.
        minutes: How long to wait for builders.
        in_cluster: Reach the services of the cluster.
        through_ssm: Reach an instance of each architecture through Session Manager, from outside the VPC.
        use: Make it buildx's default.
    """

    builder: str
    architectures: tuple[Architecture, ...] = ()
    waiting_jobs: int = 1
    minutes: float = 10
    in_cluster: bool = False
    through_ssm: bool = False
    use: bool = False


def connect(
    account: Account, stack: str, wish: Wish, *, buildx: Buildx, connections: Connections, tell: Tell
) -> Connection:
    """Make a builder that is a fleet, once every node has answered. A former one of that name is replaced.

    When it fails nothing of it stays.

    Raises:
        ToolError: Something is in the way.
    """
    check_builder_name(wish.builder)
    if wish.through_ssm:
        if wish.in_cluster or not wish.waiting_jobs:
            raise ToolError(THROUGH_SSM, given="--in-cluster" if wish.in_cluster else "--waiting-jobs 0")
        check_plugin()
    tell(f"describing the stack {stack}")
    fleet = FleetOutputs.read(stack, account.stack_outputs(stack), in_cluster=wish.in_cluster)
    endpoints = fleet.only(wish.architectures)
    tell("fetching the client certificate")
    certificate = account.client_certificate(fleet.certificate_secret)
    if wish.builder in connections.names():
        disconnect(wish.builder, connections=connections)
    origin = Origin(
        stack=stack,
        region=account.region,
        profile=account.profile,
        architectures=tuple(endpoints),
        in_cluster=wish.in_cluster,
        through_ssm=wish.through_ssm,
    )
    directory = connections.add(wish.builder, origin, certificate)
    made = False
    try:
        endpoints = _wake_and_wait(account, fleet, wish, connections, tell)
        tell(f"making the builder {wish.builder}")
        buildx.create(wish.builder, endpoints, server_name=fleet.server_name, certificate=directory)
        made = True
        versions = buildx.versions(wish.builder, tuple(endpoints))
        if wish.use:
            buildx.use(wish.builder)
    except BaseException:
        try:
            if made:
                buildx.remove(wish.builder)
        finally:
            _forget(wish.builder, connections)
        raise
    return Connection(
        builder=wish.builder,
        stack=stack,
        certificate_directory=str(directory),
        nodes={each: {"endpoint": endpoint, "buildkit": versions[each]} for each, endpoint in endpoints.items()},
        used=wish.use,
    )


def wait_again(account: Account, builder: str, *, minutes: float, connections: Connections, tell: Tell) -> None:
    """Wake the fleet of a builder that is connected, and wait until it lets this machine in, as connecting does.

    The builder and its certificate stay as they are: another build may be using them.

    Raises:
        ToolError: Something is in the way.
    """
    origin = connections.origin(builder)
    tell(f"describing the stack {origin.stack}")
    fleet = FleetOutputs.read(origin.stack, account.stack_outputs(origin.stack), in_cluster=origin.in_cluster)
    wish = Wish(builder=builder, architectures=origin.architectures, minutes=minutes, through_ssm=origin.through_ssm)
    _wake_and_wait(account, fleet, wish, connections, tell)


def disconnect(builder: str, *, connections: Connections) -> None:
    """Remove a builder, its sessions and its certificate, which goes even when buildx fails, or is gone.

    Raises:
        ToolError: buildx failed, or AWS did not end a session.
    """
    try:
        Buildx.find().remove(builder)
    finally:
        _forget(builder, connections)


def _wake_and_wait(
    account: Account, fleet: FleetOutputs, wish: Wish, connections: Connections, tell: Tell
) -> dict[Architecture, str]:
    """Return where a builder of each architecture has let this machine in."""
    endpoints, certificate = fleet.only(wish.architectures), connections.directory(wish.builder)
    answers: Mapping[str, Mapping[str, Any]] = {}
    if wish.waiting_jobs:
        jobs = {each.value: wish.waiting_jobs for each in endpoints}
        answers = wait_for_builders(
            lambda: account.invoke(
                fleet.wake_function, {"waiting_jobs": jobs}, what="wake the fleet", grant="grant_wake"
            ),
            minutes=wish.minutes,
            tell=tell,
        )
    if wish.through_ssm:
        builders = {each: tuple(answers[each].get("builders", ())) for each in endpoints}
        return SessionManager(account, fleet, wish.builder, connections).reach(builders, tell=tell)
    for endpoint in endpoints.values():
        wait_until_let_in(endpoint, fleet.server_name, certificate, tell=tell)
    return endpoints


def _forget(builder: str, connections: Connections) -> None:
    """Take away what a connection has left, its sessions too."""
    try:
        forwards = connections.forwards(builder)
        for forward in forwards.values():
            forward.end()
        if forwards:
            origin = connections.origin(builder)
            account = Account(region=origin.region, profile=origin.profile)
            for forward in forwards.values():
                account.end_session(forward.session)
    finally:
        connections.remove(builder)
