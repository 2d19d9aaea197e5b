"""A stack with a release's archives, and one with a role that boots from them: what is deployed by a test."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from cdk_buildkit import Architecture, BuildKitRelease, FunctionAlarm, ReleaseBucket

app = cdk.App(analytics_reporting=False)
sums = {each: app.node.get_context(each.value) for each in Architecture}
release = BuildKitRelease(version=app.node.get_context("version"), url=app.node.get_context("url"), sha256=sums)
stack = cdk.Stack(app, "release")
releases = ReleaseBucket(stack, "Releases", release=release)
FunctionAlarm(stack, "CopyFailed", function=releases.copier, words="The copy failed.", section="release-copy-failed")
builders = cdk.Stack(app, "builders")
releases.grant_read(iam.Role(builders, "Builder", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
for architecture in Architecture:
    cdk.CfnOutput(builders, architecture.construct_id, value=releases.archive_uri(architecture))
app.synth()
