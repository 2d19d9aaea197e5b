"""A stack with one fleet's certificates, and a role that may serve with them: what is deployed by a test."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from cdk_buildkit import BuilderCertificates

app = cdk.App(analytics_reporting=False)
stack = cdk.Stack(app, "certificates")
certificates = BuilderCertificates(
    stack,
    "Certificates",
    domain_name=app.node.get_context("domain"),
    server_life=cdk.Duration.days(int(app.node.get_context("server_life"))),
)
builder = iam.Role(stack, "Builder", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
certificates.grant_serve(builder)
iam.InstanceProfile(stack, "Profile", role=builder)
cdk.CfnOutput(stack, "Revision", value=certificates.revision)
app.synth()
