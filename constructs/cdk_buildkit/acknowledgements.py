"""What cdk-nag's AwsSolutions rules find in the constructs, answered beside the resource with the reason why it stands.

Acknowledgements are a part of the CDK: nobody needs cdk-nag, and who runs it over a stack of their own finds them.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jsii
from aws_cdk import Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct, IValidation

_Finding = tuple[IConstruct, str]
"""A construct, and the rule that it breaks."""


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Answer a finding of the AwsSolutions rule, for example `S1`, on one construct and what is below it."""
    # `Validations.acknowledge` records the same, and beside it a stack trace with the path of jsii's temporary
    # directory: the synthesized bytes would differ from one run to the next.
    construct.node.add_metadata(
        Validations.ACKNOWLEDGED_RULES_METADATA_KEY, {f"AwsSolutions::AwsSolutions-{rule}": reason}
    )


def acknowledge_objects(grantee: iam.IGrantable, arn: str, reason: str) -> None:
    """Answer the finding that a grantee's policy names objects with a wildcard, in this ARN alone."""
    principal: Any = grantee.grant_principal
    if Construct.is_construct(principal):  # a service or an account has no policy of its own
        _acknowledge_later(
            principal, reason, lambda stack: [(principal, f"IAM5[Resource::{_flat(stack.resolve(arn))}]")]
        )


def acknowledge_managed_policies(construct: IConstruct, reason: str) -> None:
    """Answer the findings that the roles in a construct have policies that AWS manages: the ones that they have."""

    def find(stack: Stack) -> Iterator[_Finding]:
        for role in construct.node.find_all():
            if isinstance(role, iam.CfnRole):
                for arn in stack.resolve(role.managed_policy_arns) or ():
                    yield role, f"IAM4[Policy::{_flat(arn)}]"

    _acknowledge_later(construct, reason, find)


def acknowledge_wildcards(construct: IConstruct, reason: str) -> None:
    """Answer the findings that policies in a construct have wildcards: the ones that they have.

    For what others make. What is made here names each wildcard that it needs.
    """

    def find(stack: Stack) -> Iterator[_Finding]:
        for policy in construct.node.find_all():
            if isinstance(policy, iam.CfnPolicy):
                for statement in stack.resolve(policy.policy_document)["Statement"]:
                    for kind in ("Action", "Resource"):
                        for value in map(_flat, _listed(statement.get(kind, []))):
                            if "*" in value:
                                yield policy, f"IAM5[{kind}::{value}]"

    _acknowledge_later(construct, reason, find)


def _acknowledge_later(construct: IConstruct, reason: str, find: Callable[[Stack], Iterable[_Finding]]) -> None:
    construct.node.add_validation(_Acknowledgement(construct, reason, find))


@jsii.implements(IValidation)
class _Acknowledgement:
    """Acknowledges at validation: a finding's id holds an action or an ARN as the template will have it."""

    def __init__(self, construct: IConstruct, reason: str, find: Callable[[Stack], Iterable[_Finding]]) -> None:
        self._construct = construct
        self._reason = reason
        self._find = find

    @jsii.member(jsii_name="validate")
    def validate(self) -> list[str]:
        for construct, rule in self._find(Stack.of(self._construct)):
            acknowledge(construct, rule, self._reason)
        return []


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - a part of a template
    return value if isinstance(value, list) else [value]


def _flat(value: Any) -> str:  # noqa: ANN401, PLR0911 - a part of a template; a return for each function
    """Write a value of a template as cdk-nag does in a finding's id."""
    match value:
        case str():
            return value.replace("${", "<").replace("}", ">")  # as it stands in Fn::Sub
        case {"Fn::Sub": str(text)}:
            return _flat(text)
        case {"Fn::Join": [str(delimiter), [*items]]}:
            return delimiter.join(map(_flat, items))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::ImportValue": name}:
            return _flat(name)
        case {"Ref": name}:
            return f"<{name}>"
    return json.dumps(value, separators=(",", ":"))
