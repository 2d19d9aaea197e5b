"""A deployment one can build on: the emulated account, its network, and builders and clients as they are needed."""

import itertools
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from buildkit_ops.architecture import Architecture
from local.builder import Builder, InstanceProfile
from local.client import Client
from local.deployment import Deployment
from local.emulator.aws import REGION
from local.emulator.process import Emulator
from local.emulator.request_log import S3Request
from local.release import ReleaseServer
from local.toolchain import Toolchain
from local.vpc import GATEWAY, Vpc

ARCHITECTURE = {"x86_64": Architecture.X86_64, "aarch64": Architecture.ARM64}[platform.machine()]
"""This machine's."""


class Reachable(Protocol):
    """A builder, as far as its clients are concerned."""

    @property
    def endpoint(self) -> str:
        """Where it listens, as `host:port`."""


class Lab:
    """A configuration, deployed. Made in a sandbox; everything ends with the `with` block.

    Args:
        directory: For everything that it writes.
        config: The configuration, a TOML file. Its BuildKit comes from this machine.
        toolchain: The programs.
        progress: Told what is being done.
    """

    def __init__(
        self, directory: Path, *, config: Path, toolchain: Toolchain, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._directory = directory
        self._progress = progress
        self._credentials: dict[str, dict[str, str]] = {}
        self._clients = itertools.count(1)
        self._resources = ExitStack()
        self._release = self._resources.enter_context(ReleaseServer(toolchain.archives, directory / "release"))
        self.emulator = self._resources.enter_context(
            Emulator(
                directory / "requests.log",
                bind="0.0.0.0",  # noqa: S104 - the sandbox's addresses, no other
                authority_file=self._release.authority_file,
            )
        )
        self.deployment = self.new_deployment(directory, config=config)
        self.vpc = Vpc()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._resources.close()

    def new_deployment(self, directory: Path, *, config: Path, name: str = "buildkit") -> Deployment:
        """Return a deployment in this account, which is not deployed yet.

        Args:
            directory: For what it writes.
            config: The configuration, a TOML file.
            name: Its deployment's name.
        """
        configured = directory / f"with-own-release-{config.name}"
        self._release.configure(config, configured)
        return Deployment(self.emulator, directory, config=configured, name=name)

    def deploy(self) -> None:
        """Deploy every stack. IAM is enforced from here on."""
        self.deployment.deploy(self._progress)
        self.emulator.enforce_iam()

    def credentials(self, fleet: str) -> Mapping[str, str]:
        """Return the credentials that the fleet's builders get from their metadata service."""
        if fleet not in self._credentials:
            template = self.deployment.launch_template(fleet, ARCHITECTURE)
            self._credentials[fleet] = self.emulator.instance_credentials(template.instance_profile)
        return self._credentials[fleet]

    def boot(
        self,
        fleet: str,
        architecture: Architecture = ARCHITECTURE,
        environment: Mapping[str, str] | None = None,
        *,
        group_name: str | None = None,
        image_change: str = "",
        volume: Path | None = None,
    ) -> Builder:
        """Boot a fresh builder from the fleet's launch template; `destroy` is the caller's.

        Raises:
            BuilderError: It did not boot.

        Args:
            fleet: The fleet's name.
            architecture: Whose launch template. The machine stays what it is.
            environment: What its environment file says differently.
            group_name: The Auto Scaling group that its tags name. Default: it is in none.
            image_change: A shell line that makes its image differ from this machine's.
            volume: The file of its store's volume. Default: it finds its store mounted.
        """
        self._progress(f"booting a fresh builder of {fleet} from its launch template's user data")
        builder = self.instance(
            fleet,
            architecture,
            environment=environment,
            group_name=group_name,
            image_change=image_change,
            volume=volume,
        )
        builder.power_on()
        return builder

    def instance(
        self,
        fleet: str,
        architecture: Architecture = ARCHITECTURE,
        *,
        user_data: str | None = None,
        environment: Mapping[str, str] | None = None,
        group_name: str | None = None,
        image_change: str = "",
        volume: Path | None = None,
    ) -> Builder:
        """Return the same, but not switched on yet, and with other user data where some is given."""
        credentials = self.credentials(fleet)
        return Builder(
            self.vpc,
            self._directory / "builders",
            user_data=user_data or self.deployment.launch_template(fleet, architecture).user_data,
            profile=InstanceProfile(role_name=credentials["RoleName"], credentials=credentials),
            region=REGION,
            environment={"AWS_ENDPOINT_URL": f"http://{GATEWAY}:{self.emulator.port}", **(environment or {})},
            group_name=group_name,
            image_change=image_change,
            volume=volume,
        )

    @contextmanager
    def builder(
        self,
        fleet: str,
        architecture: Architecture = ARCHITECTURE,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Builder]:
        """Boot a fresh builder that is in no group, and destroy it at the end."""
        builder = self.boot(fleet, architecture, environment)
        try:
            yield builder
        finally:
            builder.destroy()

    def client(self, fleet: str, builders: Mapping[Architecture, Reachable]) -> Client:
        """Return a client of the fleet, connected to one builder of each architecture."""
        return self.client_at(fleet, {architecture: builder.endpoint for architecture, builder in builders.items()})

    def client_at(
        self, fleet: str, endpoints: Mapping[Architecture, str], deployment: Deployment | None = None
    ) -> Client:
        """Return a client of the fleet, connected to these endpoints, each as `host:port`.

        Args:
            fleet: The fleet's name.
            endpoints: Where its builders are.
            deployment: Whose fleet it is. Default: the lab's own deployment.
        """
        deployment = deployment or self.deployment
        return Client(
            self._directory / "clients" / str(next(self._clients)),
            endpoints=endpoints,
            server_name=deployment.domain_name(fleet),
            certificate=deployment.client_certificate(fleet),
        )

    def cache_requests(self, architecture: Architecture = ARCHITECTURE, since: int = 0) -> list[S3Request]:
        """Return the requests that the architecture's cache bucket saw since a position of the emulator's log."""
        bucket = self.deployment.cache_bucket(architecture)
        return [
            record
            for record in self.emulator.log.since(since)
            if isinstance(record, S3Request) and record.bucket == bucket
        ]
