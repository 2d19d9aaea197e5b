"""A team's own stack with a fleet of builders as pods, on the cluster and in the VPC that it has.

Synthesize it with `cdk synth --app "python3 examples/import_eks.py"`.
"""  # noqa: INP001 - a program, not a package

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from constructs import Construct

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderCluster,
    BuilderImages,
    CacheBucket,
    CacheScope,
    EksBuilderFleet,
    ExistingCluster,
    PodStore,
)

IMAGES = BuilderImages(
    buildkit="docker.io/moby/buildkit@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    aws_cli="public.ecr.aws/aws-cli/aws-cli@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
)
"""The digests of the day that somebody looked at them."""


class PodsStack(cdk.Stack):
    """Builders for arm64, for the jobs in the cluster's namespace ci."""

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
        fleet = EksBuilderFleet(
            self,
            "Builders",
            cluster=BuilderCluster(
                self,
                "Cluster",
                vpc=vpc,
                existing=ExistingCluster(name="platform", security_group_id="sg-0123456789abcdef0"),
            ),
            zone=route53.PrivateHostedZone(self, "Zone", vpc=vpc, zone_name="builds.example.internal"),
            record_name="main",
            caches={Architecture.ARM64: CacheBucket(self, "Cache", scopes=[scope_of_main])},
            write=scope_of_main,
            images=IMAGES,
            client_namespaces=["ci"],
            egress=["10.20.4.0/24"],
            capacities={Architecture.ARM64: BuilderCapacity(max_capacity=4)},
            store=PodStore.EPHEMERAL,
        )
        cdk.CfnOutput(self, "Endpoint", value=f"tcp://{fleet.services[Architecture.ARM64]}:1234")

        # Who builds: a pod of the namespace ci with this role fetches the client certificate.
        jobs = iam.Role(self, "Jobs", assumed_by=iam.ServicePrincipal("pods.eks.amazonaws.com").with_session_tags())
        fleet.grant_connect(jobs)


def define_stacks(app: cdk.App) -> None:
    """Put the team's stacks into the app."""
    PodsStack(app, "pods")


if __name__ == "__main__":
    team_app = cdk.App()
    define_stacks(team_app)
    team_app.synth()
