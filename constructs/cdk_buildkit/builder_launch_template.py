"""What the builders of one architecture are launched from: their launch template, and on which instance types."""

from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_scaling import BuilderScaling
from cdk_buildkit.instance_types import has_instance_store
from cdk_buildkit.store_volume import StoreVolume

_LATEST_AMI = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"


class BuilderLaunchTemplate(Construct):
    """A launch template without a key pair, a public address or version 1 of the metadata service.

    Args:
        architecture: The builders' architecture.
        capacity: Their instance types, their AMI, and whether they run on spot capacity.
        scaling: The share of spot capacity.
        role: The builders' role.
        security_group: The builders' security group.
        store_volume: The volume for the store of instance types without local NVMe.
        user_data: What they boot from.

    Raises:
        ValueError: An instance type is of another architecture.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        architecture: Architecture,
        capacity: BuilderCapacity,
        scaling: BuilderScaling,
        role: iam.IRole,
        security_group: ec2.ISecurityGroup,
        store_volume: StoreVolume,
        user_data: ec2.UserData,
    ) -> None:
        super().__init__(scope, id)
        self.instance_types = capacity.instance_types_for(architecture)
        self.spot = capacity.spot
        self._distribution = (
            (scaling.on_demand_base_capacity, scaling.on_demand_percentage) if capacity.spot else (0, 100)
        )
        root = ec2.BlockDeviceVolume.ebs(20, volume_type=ec2.EbsDeviceVolumeType.GP3, encrypted=True)
        block_devices = [ec2.BlockDevice(device_name="/dev/xvda", volume=root)]
        if not all(map(has_instance_store, self.instance_types)):
            block_devices.append(store_volume.as_block_device("/dev/sdb"))
        self.launch_template = ec2.LaunchTemplate(
            self,
            "Resource",
            machine_image=ec2.MachineImage.resolve_ssm_parameter_at_launch(_LATEST_AMI.format(architecture)),
            instance_type=ec2.InstanceType(self.instance_types[0]),
            role=role,
            security_group=security_group,
            associate_public_ip_address=False,
            # A builder that has drained powers itself off: host/drain.py.
            instance_initiated_shutdown_behavior=ec2.InstanceInitiatedShutdownBehavior.TERMINATE,
            require_imdsv2=True,
            http_put_response_hop_limit=1,
            # By these a builder knows its group.
            instance_metadata_tags=True,
            block_devices=block_devices,
            user_data=user_data,
        )
        if capacity.ami_id:
            # CDK knows an AMI's id only together with its region, which is open here.
            resource = self.launch_template.node.default_child
            assert isinstance(resource, ec2.CfnLaunchTemplate)  # noqa: S101 - for the type checker
            resource.add_property_override("LaunchTemplateData.ImageId", capacity.ami_id)

    def mixed_instances_policy(self, *, on_demand: bool = False) -> autoscaling.MixedInstancesPolicy:
        """How an Auto Scaling group launches from it: the instance types in their order, on demand, spot or both.

        Args:
            on_demand: On demand alone, whatever the capacity says.
        """
        on_demand_base_capacity, on_demand_percentage = (0, 100) if on_demand else self._distribution
        return autoscaling.MixedInstancesPolicy(
            launch_template=self.launch_template,
            launch_template_overrides=[
                autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(each))
                for each in self.instance_types
            ],
            instances_distribution=autoscaling.InstancesDistribution(
                on_demand_base_capacity=on_demand_base_capacity,
                on_demand_percentage_above_base_capacity=on_demand_percentage,
                on_demand_allocation_strategy=autoscaling.OnDemandAllocationStrategy.PRIORITIZED,
                spot_allocation_strategy=autoscaling.SpotAllocationStrategy.PRICE_CAPACITY_OPTIMIZED,
            ),
        )
