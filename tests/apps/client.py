"""The stacks of a configuration, and in one of their own two roles: one may connect to the fleet main, one may not."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from app import define_stacks
from stacks.builders import BuildersStack
from stacks.config import load_config

app = cdk.App(analytics_reporting=False)
define_stacks(app, load_config(Path(app.node.get_context("config"))))
builders = app.node.find_child("buildkit-builders-main")
assert isinstance(builders, BuildersStack)

clients = cdk.Stack(app, "clients")
for name in ("Client", "Stranger"):
    role = iam.Role(clients, name, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    iam.InstanceProfile(clients, f"{name}Profile", role=role)
    if name == "Client":
        builders.fleet.grant_connect(role)
        builders.fleet.grant_wake(role)
        builders.fleet.grant_session(role)
app.synth()
