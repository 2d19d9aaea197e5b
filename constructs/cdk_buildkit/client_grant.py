"""What a client of a fleet may do, whatever the builders run on."""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_buildkit.acknowledgements import acknowledge_objects
from cdk_buildkit.builder_certificates import BuilderCertificates
from cdk_buildkit.cache_names import CacheNames


def grant_client(
    fleet: Construct, grantee: iam.IGrantable, *, certificates: BuilderCertificates, cache_names: CacheNames
) -> iam.Grant:
    """Let a client fetch a fleet's client certificate, ask which cache to import, and read the outputs of its stack."""
    stack = Stack.of(fleet)
    arn = stack.format_arn(
        service="cloudformation",
        resource="stack",
        resource_name=f"{stack.stack_name}/*",
        arn_format=ArnFormat.SLASH_RESOURCE_NAME,
    )
    acknowledge_objects(grantee, arn, "The wildcard is an id that the named stack has beside its name.")
    return (
        certificates.grant_connect(grantee)
        .combine(cache_names.grant_ask(grantee))
        .combine(
            iam.Grant.add_to_principal(grantee=grantee, actions=["cloudformation:DescribeStacks"], resource_arns=[arn])
        )
    )
