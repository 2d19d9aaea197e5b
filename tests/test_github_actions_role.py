"""Roles for jobs of GitHub Actions: whose tokens they take, evaluated, what they may do, and what is refused."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from app import define_stacks
from cdk_buildkit import CacheScope, Ec2BuilderFleet, GithubActionsRole, GithubSubjects
from cdk_buildkit.github_subjects import LONGEST_SUBJECTS
from local.emulator.policy import Decision, decide
from stacks.config import load_config

ROOT = Path(__file__).parent.parent
ISSUER = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::111122223333:oidc-provider/{ISSUER}"
MAIN = GithubSubjects(repositories=["org/app"], branches=["main"])
PULL_REQUESTS = GithubSubjects(repositories=["org/app"], pull_requests=True)

ONE_ISSUER = """
[builders.main]
architectures = ["x86_64"]
prove_boot = false
[github_actions.default]
builder = "main"
repositories = ["org/app"]
branches = ["main"]
"""


@pytest.fixture(scope="module")
def templates(synthesize: Callable[[Path], dict[str, Template]]) -> Mapping[str, Template]:
    """The example's, by stack name."""
    return synthesize(ROOT / "examples" / "github-actions.toml")


def trust(template: Template) -> Any:  # noqa: ANN401 - a part of a template
    (role,) = template.find_resources("AWS::IAM::Role").values()
    document = role["Properties"]["AssumeRolePolicyDocument"]
    for statement in document["Statement"]:
        # The provider's ARN, which is imported; an ARN that was given is a text.
        if not isinstance(statement["Principal"]["Federated"], str):
            assert "Provider" in statement["Principal"]["Federated"]["Fn::ImportValue"]
            statement["Principal"]["Federated"] = PROVIDER
    return document


def takes(
    document: Any,  # noqa: ANN401 - a trust policy
    subject: str,
    *,
    audience: str = "sts.amazonaws.com",
    provider: str = PROVIDER,
) -> bool:
    """Evaluate a trust policy for a token with these claims."""
    context = {f"{ISSUER}:aud": audience, f"{ISSUER}:sub": subject}
    decision = decide([document], "sts:AssumeRoleWithWebIdentity", None, context, [f"Federated:{provider}"])
    return decision is Decision.ALLOW


@pytest.mark.parametrize(
    "subject",
    [
        "repo:org/app:ref:refs/heads/main",
        "repo:org/app:environment:production",
        "repo:org@123456/service@456789:ref:refs/heads/main",
    ],
)
def test_a_job_of_a_named_branch_or_environment_is_taken(templates: Mapping[str, Template], subject: str) -> None:
    assert takes(trust(templates["buildkit-github-actions-main"]), subject)


@pytest.mark.parametrize(
    "subject",
    [
        "repo:org/app:pull_request",  # of a fork too: GitHub names the repository that it is opened in
        "repo:org/app:ref:refs/heads/feature",
        "repo:org/app:ref:refs/heads/main2",
        "repo:org/app:ref:refs/heads/Main",
        "repo:org/app:ref:refs/tags/main",
        "repo:org/app:ref:refs/heads/main:environment:production",
        "repo:org/app:environment:staging",
        "repo:org/app-evil:ref:refs/heads/main",
        "repo:org/app/evil:ref:refs/heads/main",
        "repo:ORG/app:ref:refs/heads/main",
        "repo:org-evil/app:ref:refs/heads/main",
        "repo:evil/org/app:ref:refs/heads/main",
        "repo:org@666/app@1:ref:refs/heads/main",
        "repo:org/service:ref:refs/heads/main",  # it has immutable subjects, and another may get its name
        "repo:org@123456/service@666:ref:refs/heads/main",
        "repo:*",
        "",
    ],
)
def test_no_other_job_is_taken(templates: Mapping[str, Template], subject: str) -> None:
    assert not takes(trust(templates["buildkit-github-actions-main"]), subject)


def test_a_token_for_somebody_else_is_not_taken(templates: Mapping[str, Template]) -> None:
    document, subject = trust(templates["buildkit-github-actions-main"]), "repo:org/app:ref:refs/heads/main"

    assert not takes(document, subject, audience="https://github.com/org")
    assert not takes(document, subject, provider="arn:aws:iam::111122223333:oidc-provider/evil.example.com")


def test_pull_requests_get_the_role_of_their_own_fleet_and_it_takes_nothing_else(
    templates: Mapping[str, Template],
) -> None:
    document = trust(templates["buildkit-github-actions-pull-requests"])

    assert takes(document, "repo:org/app:pull_request")
    assert not takes(document, "repo:org/app:ref:refs/heads/main")
    assert not takes(document, "repo:org/app:environment:production")


def test_a_trust_policy_has_no_pattern(templates: Mapping[str, Template]) -> None:
    (statement,) = trust(templates["buildkit-github-actions-main"])["Statement"]

    assert list(statement["Condition"]) == ["StringEquals"]
    assert set(statement["Condition"]["StringEquals"]) == {f"{ISSUER}:aud", f"{ISSUER}:sub"}
    assert not set("*?$") & set(json.dumps(statement))


def test_a_role_may_connect_wake_and_push_and_sees_nothing_of_the_cache(
    templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    (policy,) = templates["buildkit-github-actions-main"].find_resources("AWS::IAM::Policy").values()
    statements = readable(policy["Properties"]["PolicyDocument"]["Statement"])

    actions = {
        action for each in statements for action in ([each["Action"]] if "Fn" in each else _list(each["Action"]))
    }
    assert {each.partition(":")[0] for each in actions} == {"cloudformation", "ecr", "lambda", "secretsmanager"}
    (pushing,) = (each for each in statements if "ecr:PutImage" in each["Action"])
    assert pushing["Resource"] == "arn:<AWS::Partition>:ecr:eu-west-1:111122223333:repository/app"
    (invoking,) = (each for each in statements if each["Action"] == "lambda:InvokeFunction")
    assert len(invoking["Resource"]) == 4  # two functions, each with its versions


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - one value in place of a list
    return value if isinstance(value, list) else [value]


def test_a_session_may_outlast_the_longest_build(templates: Mapping[str, Template]) -> None:
    templates["buildkit-github-actions-main"].has_resource_properties("AWS::IAM::Role", {"MaxSessionDuration": 7200})


def test_the_account_gets_one_provider_for_all_roles(templates: Mapping[str, Template]) -> None:
    template = templates["buildkit-github-provider"]

    template.resource_count_is("AWS::IAM::OIDCProvider", 1)
    template.has_resource_properties(
        "AWS::IAM::OIDCProvider", {"Url": f"https://{ISSUER}", "ClientIdList": ["sts.amazonaws.com"]}
    )
    templates["buildkit-github-actions-main"].has_output("RoleArn", Match.any_value())


def test_a_provider_that_exists_is_taken_by_its_arn(make_app: Callable[[], cdk.App], tmp_path: Path) -> None:
    issuer = "github.example.com/_services/token"
    given = f'issuer = "{issuer}"\noidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/{issuer}"\n'
    (tmp_path / "builders.toml").write_text(ONE_ISSUER + given)
    app = make_app()

    define_stacks(app, load_config(tmp_path / "builders.toml"))
    stacks = {each.stack_name: each.template for each in app.synth().stacks}

    assert "buildkit-github-provider" not in stacks
    (statement,) = trust(Template.from_json(stacks["buildkit-github-actions-default"]))["Statement"]
    assert statement["Principal"]["Federated"] == f"arn:aws:iam::111122223333:oidc-provider/{issuer}"
    assert statement["Condition"]["StringEquals"][f"{issuer}:sub"] == ["repo:org/app:ref:refs/heads/main"]


@pytest.fixture
def fleet(make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet]) -> Ec2BuilderFleet:
    """A fleet of builders in an app of its own."""
    return make_fleet(stack=cdk.Stack(make_app(), "builders"))


def add_role(fleet: Ec2BuilderFleet, name: str, subjects: GithubSubjects, **props: Any) -> GithubActionsRole:  # noqa: ANN401
    stack = cdk.Stack.of(fleet)
    provider = iam.OidcProviderNative.from_oidc_provider_arn(stack, f"{name}Provider", PROVIDER)
    return GithubActionsRole(stack, name, builders=fleet, provider=provider, subjects=subjects, **props)


def synthesized(fleet: Ec2BuilderFleet) -> str:
    """Synthesize, and return what is refused."""
    try:
        app = fleet.node.root
        assert isinstance(app, cdk.App)
        app.synth()
    except RuntimeError as error:
        return str(error)
    return ""


def test_pull_requests_are_refused_where_another_job_builds_on_the_fleet(fleet: Ec2BuilderFleet) -> None:
    add_role(fleet, "PullRequests", PULL_REQUESTS)
    add_role(fleet, "Main", MAIN)

    assert (
        "got main.buildkit.internal, and builders/Main lets other jobs build there: make a fleet of builders for pull"
        in synthesized(fleet)
    )


def test_pull_requests_are_refused_where_somebody_else_reads_the_fleets_scope(fleet: Ec2BuilderFleet) -> None:
    add_role(fleet, "PullRequests", PULL_REQUESTS)
    other = iam.Role(cdk.Stack.of(fleet), "Other", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    next(iter(fleet.caches.values())).grant_read(CacheScope("main"), other)

    assert "its cache scope main is read by builders/Other: make a fleet" in synthesized(fleet)


def test_two_roles_of_pull_requests_may_share_a_fleet(fleet: Ec2BuilderFleet) -> None:
    add_role(fleet, "One", PULL_REQUESTS)
    add_role(fleet, "Two", GithubSubjects(repositories=["org/other"], pull_requests=True))

    assert synthesized(fleet) == ""


def test_an_issuer_is_written_without_its_scheme(fleet: Ec2BuilderFleet) -> None:
    with pytest.raises(ValueError, match=r"got 'https://github.example.com': write it without https://"):
        add_role(fleet, "Role", MAIN, issuer="https://github.example.com")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"repositories": ["org/*"]}, "a repository as owner/name, or as owner@id/name@id .* got 'org/\\*': write it"),
        ({"repositories": ["*/app"]}, "got '\\*/app'"),
        ({"repositories": ["org"]}, "got 'org'"),
        ({"repositories": ["org@1/app"]}, "got 'org@1/app'"),
        ({"repositories": ["org/app:ref:refs/heads/x"]}, "without a wildcard; got 'org/app:ref"),
        ({"repositories": ["org/.."]}, "got 'org/..'"),
        ({"repositories": ["org/app\n"]}, "got 'org/app"),
        ({"repositories": []}, "of at least one repository; got none"),
        ({"repositories": ["org/app", "ORG/app"]}, "does not tell org/app from ORG/app, and a policy does"),
        ({"branches": ["release/*"]}, "got 'release/\\*': name each branch that is protected; whoever may push"),
        ({"branches": ["ma?n"]}, "got 'ma\\?n'"),
        ({"branches": ["${aws:username}"]}, "a branch's name, of letters, digits"),
        ({"branches": ["refs/heads/main"]}, "write it without refs/heads/, and no tag: main"),
        ({"branches": ["a..b"]}, "got 'a..b'"),
        ({"branches": ["main:x"]}, "got 'main:x'"),
        ({"branches": [], "environments": []}, "jobs of branches, environments or pull requests; got none of them"),
        ({"environments": ["prod*"]}, "an environment's name, 1 to 255 letters, .* got 'prod\\*': rename it"),
        ({"environments": ["prod:x"]}, "got 'prod:x'"),
        ({"environments": ["Prod", "prod"]}, "does not tell Prod from prod"),
        ({"pull_requests": True}, "for pull requests or for branches and environments, .* make a role for each"),
        (
            {"repositories": [f"org/{'a' * 90}{number}" for number in range(20)]},
            f"room for subjects of {LONGEST_SUBJECTS} characters; got 2",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_subjects_that_would_let_in_more_than_they_say_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GithubSubjects(**{"repositories": ["org/app"], "branches": ["main"], **given})


@pytest.mark.parametrize("branch", ["main", "release/1.2", "feature/#12_x", "renovate/a@1", "v1+2"])
def test_a_branch_with_characters_that_stand_for_themselves_is_taken(branch: str) -> None:
    subjects = GithubSubjects(repositories=["org/app"], branches=[branch])

    assert subjects.subjects == [f"repo:org/app:ref:refs/heads/{branch}"]
