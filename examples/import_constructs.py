"""A team's own stack with a fleet of builders, beside the service that its images are for.

Synthesize it with `cdk synth --app "python3 examples/import_constructs.py"`.
"""  # noqa: INP001 - a program, not a package

from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    CacheBucket,
    CacheExpiration,
    CacheScope,
    Ec2BuilderFleet,
)


class BuildsStack(cdk.Stack):
    """Builders for arm64 in the team's VPC, which push to the team's repository."""

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - the name that every construct gives it
        super().__init__(scope, id)
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id="vpc-0123456789abcdef0",
            vpc_cidr_block="10.20.0.0/16",
            availability_zones=["eu-west-1a", "eu-west-1b"],
            private_subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            private_subnet_route_table_ids=["rtb-0123456789abcdef0", "rtb-0123456789abcdef1"],
        )
        scope_of_main = CacheScope("main")
        longest_build = timedelta(minutes=30)
        cache = CacheBucket(
            self,
            "Cache",
            scopes=[scope_of_main],
            expiration=CacheExpiration(blob_days=20, manifest_days=14, longest_build=longest_build),
        )
        fleet = Ec2BuilderFleet(
            self,
            "Builders",
            vpc=vpc,
            zone=route53.PrivateHostedZone(self, "Zone", vpc=vpc, zone_name="builds.example.internal"),
            record_name="main",
            caches={Architecture.ARM64: cache},
            write=scope_of_main,
            capacities={Architecture.ARM64: BuilderCapacity(min_capacity=0, max_capacity=4)},
            longest_build=longest_build,
        )
        fleet.connections.allow_default_port_from(ec2.Peer.ipv4(vpc.vpc_cidr_block), "The VPC")
        cdk.CfnOutput(self, "Endpoint", value=f"tcp://{fleet.domain_name}:{Architecture.ARM64.port}")

        # Who builds: it fetches the client certificate, and is let in by the VPC's address above.
        jobs = iam.Role(self, "Jobs", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        fleet.grant_connect(jobs)

        repository = ecr.Repository(self, "Images", image_scan_on_push=True)
        repository.grant_pull_push(fleet)


def define_stacks(app: cdk.App) -> None:
    """Put the team's stacks into the app."""
    BuildsStack(app, "builds")


if __name__ == "__main__":
    team_app = cdk.App()
    define_stacks(team_app)
    team_app.synth()
