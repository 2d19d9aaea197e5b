"""No finding of cdk-nag's AwsSolutions rules is without an answer, in any deployment of the application."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from cdk_nag import AwsSolutionsChecks

from app import define_stacks
from cdk_buildkit import CacheBucket, CacheScope
from stacks.config import load_config

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = [ROOT / "builders.toml", *sorted((ROOT / "examples").glob("*.toml"))]

ANSWERED = {
    "AwsSolutions-AS3",
    "AwsSolutions-DDB3",
    "AwsSolutions-EC26",
    "AwsSolutions-ELB2",
    "AwsSolutions-IAM5",
    "AwsSolutions-L1",
    "AwsSolutions-S1",
    "AwsSolutions-SMG4",
}
"""The rules that the constructs answer. Whoever adds one explains it to a stranger."""


def findings(app: cdk.App) -> list[tuple[str, str]]:
    """Synthesize with the rules on: the rule and the construct of each finding that nobody has answered."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):
            raise
    return [
        (violation["ruleName"], construct["constructPath"])
        for report in validation_report(app)["pluginReports"]
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    ]


def validation_report(app: cdk.App) -> Any:  # noqa: ANN401 - from JSON
    """What the CDK writes about the rules."""
    return json.loads((Path(app.outdir) / "validation-report.json").read_text())


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_a_deployment_has_no_unanswered_finding(make_app: Callable[[], cdk.App], path: Path) -> None:
    app = make_app()
    define_stacks(app, load_config(path))

    assert findings(app) == []


def test_a_finding_that_nobody_answers_is_found(make_app: Callable[[], cdk.App]) -> None:
    app = make_app()
    s3.Bucket(cdk.Stack(app, "other"), "Bucket")

    assert ("AwsSolutions-S1", "other/Bucket/Resource") in findings(app)


def test_an_answer_about_one_scope_is_no_answer_about_the_bucket(make_app: Callable[[], cdk.App]) -> None:
    app = make_app()
    stack = cdk.Stack(app, "cache")
    cache = CacheBucket(stack, "Cache", scopes=[CacheScope("main")])
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))

    cache.grant_read(CacheScope("main"), role)
    iam.Grant.add_to_principal(
        grantee=role, actions=["s3:GetObject"], resource_arns=[cache.bucket.arn_for_objects("*")]
    )

    ((rule, construct),) = findings(app)
    assert rule.startswith("AwsSolutions-IAM5[Resource::<CacheBucket")
    assert rule.endswith(".Arn>/*]")
    assert construct == "cache/Role/DefaultPolicy/Resource"


def test_only_these_rules_are_answered_and_each_with_a_reason(make_app: Callable[[], cdk.App]) -> None:
    app = make_app()
    define_stacks(app, load_config(ROOT / "builders.toml"))
    key = cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY

    app.synth()

    answers = [
        (rule, reason)
        for construct in app.node.find_all()
        for entry in construct.node.metadata
        if entry.type == key
        for rule, reason in entry.data.items()
        if rule.startswith("AwsSolutions")  # the CDK answers its own validator in the same way
    ]
    assert {rule.removeprefix("AwsSolutions::").partition("[")[0] for rule, _ in answers} == ANSWERED
    assert all(len(reason.split()) > 4 for _, reason in answers)
