"""The function that says which cache to import: what it chooses, what it refuses, and what its role may do."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template

from buildkit_ops.cache_scope import LONGEST_NAME, cache_name
from cdk_buildkit import Architecture, CacheBucket, CacheNames, CacheScope
from cdk_buildkit.handlers.cache_names import choosing
from cdk_buildkit.handlers.cache_names.choosing import Choice, Question, choose, read_question

BOTH = ("arm64", "x86_64")
FLEET = dict.fromkeys(BOTH, "bucket")
MAIN, PULL_REQUESTS = CacheScope("main"), CacheScope("pull-requests")


def chosen(there: set[tuple[str, str, str]], *, scopes: tuple[str, ...] = ("main",)) -> Choice | None:
    """Ask for feature, then main, of both architectures, where these caches are there."""
    return choose(Question(names=("app/feature", "app/main"), architectures=BOTH), scopes, lambda *each: each in there)


def on_both(scope: str, name: str) -> set[tuple[str, str, str]]:
    return {(architecture, scope, name) for architecture in BOTH}


def test_the_branchs_own_cache_is_chosen_before_the_default_branchs() -> None:
    choice = chosen(on_both("main", "app/feature") | on_both("main", "app/main"))

    assert choice == Choice(scope="main", name="app/feature", architectures=BOTH)


def test_a_branch_without_a_cache_gets_the_default_branchs() -> None:
    assert chosen(on_both("main", "app/main")) == Choice(scope="main", name="app/main", architectures=BOTH)


def test_a_cache_for_every_architecture_is_chosen_before_the_branchs_for_one() -> None:
    choice = chosen({("arm64", "main", "app/feature")} | on_both("main", "app/main"))

    assert choice == Choice(scope="main", name="app/main", architectures=BOTH)


def test_when_none_is_there_for_every_architecture_the_first_of_those_for_most_is_chosen() -> None:
    choice = chosen({("x86_64", "main", "app/feature"), ("arm64", "main", "app/main")})

    assert choice == Choice(scope="main", name="app/feature", architectures=("x86_64",))


def test_nothing_is_chosen_where_nothing_is() -> None:
    assert chosen(set()) is None


def test_a_scope_that_is_only_read_comes_after_the_one_that_is_written_and_before_the_next_name() -> None:
    scopes = ("pull-requests", "main")
    of_main = on_both("main", "app/feature") | on_both("pull-requests", "app/main")

    assert chosen(of_main, scopes=scopes) == Choice(scope="main", name="app/feature", architectures=BOTH)
    assert chosen(of_main | on_both("pull-requests", "app/feature"), scopes=scopes) == Choice(
        scope="pull-requests", name="app/feature", architectures=BOTH
    )


def test_nothing_is_looked_for_after_the_first_that_is_there_for_all() -> None:
    asked = []

    def exists(*each: str) -> bool:
        asked.append(each)
        return True

    choose(Question(names=("app/a", "app/b"), architectures=("arm64",)), ("main", "other"), exists)

    assert asked == [("arm64", "main", "app/a")]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({}, "an event is a list of names and one of architectures; got {}"),
        ({"names": "app/main", "architectures": ["arm64"]}, "an event is a list of names"),
        ({"names": [1], "architectures": ["arm64"]}, "an event is a list of names"),
        ({"names": [], "architectures": ["arm64"]}, "1 to 8 names are looked for; got 0"),
        ({"names": ["a"] * 9, "architectures": ["arm64"]}, "1 to 8 names are looked for; got 9"),
        ({"names": ["a/b c"], "architectures": ["arm64"]}, "a name is what cache_name(project, branch) returns"),
        ({"names": ["a" * 201], "architectures": ["arm64"]}, "a name is what cache_name(project, branch) returns"),
        ({"names": ["a"], "architectures": []}, "this fleet builds for arm64, x86_64; got []"),
        ({"names": ["a"], "architectures": ["riscv"]}, "this fleet builds for arm64, x86_64; got ['riscv']"),
    ],
)
def test_what_is_no_question_is_refused_in_words(event: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its words are compared below
        read_question(event, FLEET)

    assert str(refused.value).startswith(words)


def test_every_name_that_can_be_made_is_understood() -> None:
    names = [cache_name("Team/App", "feature/ü,;"), cache_name("a", "b" * 500), cache_name("a", "..")]

    assert read_question({"names": names, "architectures": ["arm64"]}, FLEET).names == tuple(names)
    assert choosing.LONGEST_NAME == LONGEST_NAME


@pytest.fixture(scope="module")
def template(make_app: Callable[[], cdk.App]) -> Template:
    """Return the function of a fleet that reads one scope more than it writes, and who may ask it."""
    stack = cdk.Stack(make_app(), "names")
    key = kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:eu-west-1:111122223333:key/given")
    cache = CacheBucket(stack, "Cache", scopes=[MAIN, PULL_REQUESTS, CacheScope("nightly")], encryption_key=key)
    names = CacheNames(stack, "Names", caches={Architecture.ARM64: cache}, write=PULL_REQUESTS, read=[MAIN])
    names.grant_ask(iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    return Template.from_stack(stack)


def policy(template: Template, readable: Callable[[Any], Any], role: str) -> Any:  # noqa: ANN401 - from JSON
    (found,) = (each for name, each in template.find_resources("AWS::IAM::Policy").items() if name.startswith(role))
    return readable(found["Properties"]["PolicyDocument"]["Statement"])


def test_the_functions_role_may_read_manifests_of_the_fleets_scopes_and_no_layer(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    assert policy(template, readable, "NamesFunctionRole") == [
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Effect": "Allow",
            "Resource": "<NamesFunctionLog.Arn>",
        },
        {
            "Action": "s3:GetObject",
            "Effect": "Allow",
            "Resource": ["<CacheBucket.Arn>/main/manifests/*", "<CacheBucket.Arn>/pull-requests/manifests/*"],
        },
        {"Action": "s3:ListBucket", "Effect": "Allow", "Resource": "<CacheBucket.Arn>"},
        {
            "Action": "kms:Decrypt",
            "Effect": "Allow",
            "Resource": "arn:aws:kms:eu-west-1:111122223333:key/given",
        },
    ]


def test_who_may_ask_may_call_the_function_and_nothing_else(template: Template, readable: Callable[[Any], Any]) -> None:
    assert policy(template, readable, "Client") == [
        {
            "Action": "lambda:InvokeFunction",
            "Effect": "Allow",
            "Resource": ["<NamesFunction.Arn>", "<NamesFunction.Arn>:*"],
        }
    ]


def test_the_scope_that_is_written_is_looked_into_first(template: Template, readable: Callable[[Any], Any]) -> None:
    (function,) = template.find_resources("AWS::Lambda::Function").values()

    variables = function["Properties"]["Environment"]["Variables"]
    assert json.loads(readable(variables["BUCKETS"])) == {"arm64": "<CacheBucket>"}
    assert json.loads(variables["SCOPES"]) == ["pull-requests", "main"]
