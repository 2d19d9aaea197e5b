"""The engine's providers of a runner fleet: what launches a runner for a job, on spot capacity first where wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ec2 as ec2
from cloudsnorkel import cdk_github_runners as engine
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.runner_compute import (
    COMPUTE_TYPES,
    DEFAULT_INSTANCE_TYPES,
    CodeBuildRunners,
    Ec2Runners,
    FargateRunners,
    RunnerCompute,
)

# The engine's default, 22.04, has Python 3.10; the tool in the image needs 3.11.
_OS = engine.Os.LINUX_UBUNTU_2404
_ARCHITECTURES = {
    Architecture.ARM64: engine.Architecture.ARM64,
    Architecture.X86_64: engine.Architecture.X86_64,
}
_COMPUTE_TYPES = dict(
    zip(
        COMPUTE_TYPES,
        (
            codebuild.ComputeType.SMALL,
            codebuild.ComputeType.MEDIUM,
            codebuild.ComputeType.LARGE,
            codebuild.ComputeType.X2_LARGE,
        ),
        strict=True,
    )
)

RunnerProvider = engine.Ec2RunnerProvider | engine.FargateRunnerProvider | engine.CodeBuildRunnerProvider
"""One of the engine's providers."""


@dataclass(frozen=True, kw_only=True)
class RunnerPlacement:
    """Where runners run and which jobs they take.

    Args:
        vpc: Their VPC.
        security_group: Their security group.
        labels: The labels that a job must ask for, all of them.
        group: Their runner group in GitHub.
    """

    vpc: ec2.IVpc
    security_group: ec2.ISecurityGroup
    labels: Sequence[str]
    group: str | None

    @property
    def subnets(self) -> ec2.SubnetSelection:
        """The private subnets with egress."""
        return ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)


def add_providers(
    scope: Construct,
    compute: RunnerCompute,
    placement: RunnerPlacement,
    components: Sequence[engine.RunnerImageComponent],
) -> list[RunnerProvider]:
    """Make what launches runners, the preferred first, all from one image.

    Where an image is built it has a security group of its own: nothing in it reaches the builders.
    """
    image = _image_builder(scope, compute, placement)
    for component in components:
        image.add_component(component)
    match compute:
        case Ec2Runners():
            return [_ec2(scope, compute, placement, image, spot=spot) for spot in _spot_first(spot=compute.spot)]
        case FargateRunners():
            return [_fargate(scope, compute, placement, image, spot=spot) for spot in _spot_first(spot=compute.spot)]
        case CodeBuildRunners():
            return [_codebuild(scope, compute, placement, image)]


def _spot_first(*, spot: bool) -> list[bool]:
    return [True, False] if spot else [False]


def _image_builder(
    scope: Construct, compute: RunnerCompute, placement: RunnerPlacement
) -> engine.IConfigurableRunnerImageBuilder:
    architecture = _ARCHITECTURES[compute.architecture]
    match compute:
        case Ec2Runners():
            return engine.Ec2RunnerProvider.image_builder(
                scope,
                "Image",
                os=_OS,
                architecture=architecture,
                vpc=placement.vpc,
                subnet_selection=placement.subnets,
                aws_image_builder_options=engine.AwsImageBuilderRunnerImageBuilderProps(
                    instance_type=ec2.InstanceType(DEFAULT_INSTANCE_TYPES[compute.architecture])
                ),
            )
        case FargateRunners():
            image = engine.FargateRunnerProvider.image_builder(
                scope, "Image", os=_OS, architecture=architecture, vpc=placement.vpc, subnet_selection=placement.subnets
            )
            # The engine leaves docker out where no daemon runs. buildx is a plugin of its command line.
            image.add_component(engine.RunnerImageComponent.docker())
            return image
        case CodeBuildRunners():
            return engine.CodeBuildRunnerProvider.image_builder(
                scope, "Image", os=_OS, architecture=architecture, vpc=placement.vpc, subnet_selection=placement.subnets
            )


def _ec2(
    scope: Construct,
    compute: Ec2Runners,
    placement: RunnerPlacement,
    image: engine.IConfigurableRunnerImageBuilder,
    *,
    spot: bool,
) -> engine.Ec2RunnerProvider:
    return engine.Ec2RunnerProvider(
        scope,
        "Spot" if spot else "OnDemand",
        image_builder=image,
        vpc=placement.vpc,
        subnet_selection=placement.subnets,
        security_groups=[placement.security_group],
        labels=list(placement.labels),
        group=placement.group,
        instance_type=ec2.InstanceType(compute.instance_type),
        storage_size=compute.storage,
        spot=spot,
    )


def _fargate(
    scope: Construct,
    compute: FargateRunners,
    placement: RunnerPlacement,
    image: engine.IConfigurableRunnerImageBuilder,
    *,
    spot: bool,
) -> engine.FargateRunnerProvider:
    return engine.FargateRunnerProvider(
        scope,
        "Spot" if spot else "OnDemand",
        image_builder=image,
        vpc=placement.vpc,
        subnet_selection=placement.subnets,
        security_groups=[placement.security_group],
        assign_public_ip=False,
        labels=list(placement.labels),
        group=placement.group,
        cpu=compute.cpu,
        memory_limit_mib=compute.memory.to_mebibytes(),
        ephemeral_storage_gib=compute.storage.to_gibibytes(),
        spot=spot,
    )


def _codebuild(
    scope: Construct,
    compute: CodeBuildRunners,
    placement: RunnerPlacement,
    image: engine.IConfigurableRunnerImageBuilder,
) -> engine.CodeBuildRunnerProvider:
    return engine.CodeBuildRunnerProvider(
        scope,
        "OnDemand",
        image_builder=image,
        vpc=placement.vpc,
        subnet_selection=placement.subnets,
        security_groups=[placement.security_group],
        labels=list(placement.labels),
        group=placement.group,
        compute_type=_COMPUTE_TYPES[compute.compute_type],
        timeout=compute.timeout,
    )
