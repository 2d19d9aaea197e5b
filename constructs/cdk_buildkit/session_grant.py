"""What a principal may do who reaches a fleet's builders through Session Manager: forward ports, and no more."""

from collections.abc import Iterable

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.port_forward import DOCUMENT
from cdk_buildkit.acknowledgements import acknowledge_objects


def grant_session(
    fleet: Construct, grantee: iam.IGrantable, *, groups: Iterable[autoscaling.IAutoScalingGroup]
) -> iam.Grant:
    """Let a principal forward ports to the instances of Auto Scaling groups, and end and resume its own sessions.

    The tag with the group's name is Auto Scaling's own: nobody else can give it to an instance. The check of the
    document has to stand in every statement that allows a session; without it the default one, a shell, would do:
    https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-specify-session-document.html
    """
    stack = Stack.of(fleet)
    instances = stack.format_arn(service="ec2", resource="instance", resource_name="*")
    sessions = stack.format_arn(service="ssm", resource="session", resource_name="*")
    document = stack.format_arn(
        service="ssm", account="", resource="document", resource_name=DOCUMENT, arn_format=ArnFormat.SLASH_RESOURCE_NAME
    )
    acknowledge_objects(grantee, instances, "Instances come and go: the tag of their group stands for them.")
    acknowledge_objects(grantee, sessions, "A session's id is made when it starts: the tag of its owner stands for it.")
    checked = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
    names = [each.auto_scaling_group_name for each in groups]
    return (
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["ssm:StartSession"],
            resource_arns=[instances],
            conditions={**checked, "StringEquals": {"ssm:resourceTag/aws:autoscaling:groupName": names}},
        )
        .combine(
            iam.Grant.add_to_principal(
                grantee=grantee, actions=["ssm:StartSession"], resource_arns=[document], conditions=checked
            )
        )
        .combine(
            # https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-restrict-access-examples.html
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=["ssm:ResumeSession", "ssm:TerminateSession"],
                resource_arns=[sessions],
                conditions={"StringLike": {"ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}"}},
            )
        )
    )
