"""Who may reach a fleet through Session Manager: one document, the fleet's own instances, the caller's own sessions."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from cdk_buildkit import Ec2BuilderFleet

CHECKED = {"ssm:SessionDocumentAccessCheck": "true"}


def test_a_granted_role_forwards_ports_of_the_fleets_groups_and_does_nothing_else(
    make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet], readable: Callable[[Any], Any]
) -> None:
    stack = cdk.Stack(make_app(), "builders")
    fleet = make_fleet(stack=stack)
    role = iam.Role(stack, "Laptop", assumed_by=iam.AccountRootPrincipal())

    fleet.grant_session(role)

    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    (policy,) = (each for each in policies if readable(each["Properties"]["Roles"]) == ["<Laptop>"])
    assert readable(policy["Properties"]["PolicyDocument"]["Statement"]) == [
        {
            "Action": "ssm:StartSession",
            "Condition": {
                "BoolIfExists": CHECKED,
                "StringEquals": {
                    "ssm:resourceTag/aws:autoscaling:groupName": [
                        f"<{group}>" for group in map(name_of(readable, stack), fleet.groups.values())
                    ]
                },
            },
            "Effect": "Allow",
            "Resource": "arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>:instance/*",
        },
        {
            "Action": "ssm:StartSession",
            "Condition": {"BoolIfExists": CHECKED},
            "Effect": "Allow",
            "Resource": "arn:<AWS::Partition>:ssm:<AWS::Region>::document/AWS-StartPortForwardingSession",
        },
        {
            "Action": ["ssm:ResumeSession", "ssm:TerminateSession"],
            "Condition": {"StringLike": {"ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}"}},
            "Effect": "Allow",
            "Resource": "arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:session/*",
        },
    ]


def name_of(readable: Callable[[Any], Any], stack: cdk.Stack) -> Callable[[Any], str]:
    """Return what writes a group's name as `readable` does."""

    def name(group: Any) -> str:  # noqa: ANN401 - a construct
        return str(readable(stack.resolve(group.auto_scaling_group_name))).strip("<>")

    return name
