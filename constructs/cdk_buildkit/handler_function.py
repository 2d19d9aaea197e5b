"""A Lambda function from handlers/: its code as an asset that is made offline, its log group and its role."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jsii
from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge

HANDLERS = Path(__file__).parent / "handlers"
"""A package for each function, and the modules that they share."""

SUMS = "SHA256SUMS"
"""Beside the wheels of a handler: the SHA-256 of each, as `sha256sum --check` reads them."""


@jsii.implements(iam.IGrantable)
class HandlerFunction(Construct):
    """A Python function on Graviton, outside the VPC. Its role may write its own log, and what it is granted.

    Args:
        handler: The package in handlers/ whose `index.handler` is called.
        description: What the function is for, in the console's words.
        environment: Its environment variables; the log group's name is added as `LOG_GROUP`. Default: none.
        timeout: The longest that a call may take.
        memory_size: MiB of memory.
        ephemeral_storage_size: The size of /tmp. Default: Lambda's own, 512 MiB.

    Raises:
        ValueError: A wheel of the handler is not the pinned one.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        handler: str,
        description: str,
        environment: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        memory_size: int = 256,
        ephemeral_storage_size: Size | None = None,
    ) -> None:
        super().__init__(scope, id)
        self.log_group = logs.LogGroup(
            self, "Log", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=description
        )
        self.log_group.grant_write(self.role)
        with tempfile.TemporaryDirectory() as directory:  # the asset is copied when the function is defined
            stage_handler(handler, Path(directory))
            self.function = lambda_.Function(
                self,
                "Resource",
                description=description,
                runtime=lambda_.Runtime.PYTHON_3_13,
                architecture=lambda_.Architecture.ARM_64,
                code=lambda_.Code.from_asset(directory),
                handler=f"cdk_buildkit.handlers.{handler}.index.handler",
                environment={**(environment or {}), "LOG_GROUP": self.log_group.log_group_name},
                timeout=timeout or Duration.minutes(1),
                memory_size=memory_size,
                ephemeral_storage_size=ephemeral_storage_size,
                log_group=self.log_group,
                role=self.role,
            )
        resource = self.function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 - for the type checker
        # CDK lets a function wait for the role, which its ARN does already, together with the role's policy.
        resource.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3005"]}})
        acknowledge(
            self.function,
            "L1",
            "Python 3.13 is supported until 2029. The wheels are pinned for it; both change together.",
        )

    @property
    @jsii.member(jsii_name="grantPrincipal")
    def grant_principal(self) -> iam.IPrincipal:
        """The function's role."""
        return self.role


def stage_handler(handler: str, directory: Path) -> None:
    """Lay a function's code out as Lambda unpacks it: its wheels, its package, and the modules in handlers/.

    Modules keep their full names, as a namespace package, so that they import each other there as they do here.

    Raises:
        ValueError: A wheel is missing, is not pinned, or has another SHA-256 than its pin.
    """
    for wheel in _checked_wheels(HANDLERS / handler / "wheels"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)
    for source in (*HANDLERS.glob("*.py"), *(HANDLERS / handler).glob("*.py")):
        target = directory / "cdk_buildkit" / "handlers" / source.relative_to(HANDLERS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask: Lambda's user must read it


def _checked_wheels(directory: Path) -> list[Path]:
    if not directory.exists():
        return []
    lines = (directory / SUMS).read_text().splitlines()
    pins = {name: pin for pin, name in (line.split() for line in lines)}
    wheels = sorted(directory.glob("*.whl"))
    if {wheel.name for wheel in wheels} != set(pins):
        raise ValueError(
            f"{directory} holds exactly the wheels that {SUMS} names; got {[wheel.name for wheel in wheels]}, pinned "
            f"{sorted(pins)}: install cdk-buildkit again"
        )
    for wheel in wheels:
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != pins[wheel.name]:
            raise ValueError(
                f"the SHA-256 of {wheel} must be {pins[wheel.name]}, as {SUMS} pins it; got {found}: "
                "install cdk-buildkit again"
            )
    return wheels
