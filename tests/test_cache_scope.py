"""The cache's key space: names that cannot collide or escape, and the exact options that builds are given."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_ops.cache_scope import LONGEST_NAME, CacheScope, cache_name, cache_options

MAIN, PULL_REQUESTS, NIGHTLY = CacheScope("main"), CacheScope("pull-requests"), CacheScope("nightly")
NAME = "app/feature"
PART = st.text("ab/%2Fé.,;!", min_size=1, max_size=120) | st.text(min_size=1, max_size=120)


def test_a_scope_keeps_manifests_and_blobs_apart_below_its_own_prefix() -> None:
    assert PULL_REQUESTS.prefix == "pull-requests/"
    assert PULL_REQUESTS.manifests_prefix == "pull-requests/manifests/"
    assert PULL_REQUESTS.blobs_prefix == "pull-requests/blobs/"


@pytest.mark.parametrize("name", ["m", "main", "a1", "pull-requests", "a" * 32])
def test_a_scopes_name_is_lower_case_letters_digits_and_hyphens(name: str) -> None:
    assert CacheScope(name).name == name


@pytest.mark.parametrize("name", ["", "Main", "1st", "-a", "a-", "a" * 33, "a/b", "a_b", "a.b", "é", "main\n"])
def test_any_other_scope_name_is_refused(name: str) -> None:
    words = f"a cache scope's name is 1 to 32 .*; got {re.escape(repr(name))}: rename it"

    with pytest.raises(ValueError, match=words):
        CacheScope(name)


@pytest.mark.parametrize(
    ("project", "branch", "name"),
    [
        ("app", "main", "app/main"),
        ("team/app", "feature/x", "team%2Fapp/feature%2Fx"),
        ("app", "a,b;c%d", "app/a%2Cb%3Bc%25d"),
        ("app", "größer", "app/gr%C3%B6%C3%9Fer"),
        ("app", "a b!", "app/a%20b%21"),
        ("app", "v1.2_x-y~z", "app/v1.2_x-y~z"),
        (".", "..", "%2E/%2E%2E"),
        ("a.b", "...", "a.b/..."),
    ],
)
def test_a_name_is_the_project_and_the_branch_each_percent_encoded(project: str, branch: str, name: str) -> None:
    assert cache_name(project, branch) == name


def test_a_name_of_200_bytes_is_left_alone() -> None:
    name = cache_name("app", "b" * 196)

    assert name == "app/" + "b" * 196
    assert len(name) == LONGEST_NAME == 200


def test_a_longer_name_keeps_its_head_and_ends_in_its_hash() -> None:
    name = cache_name("app", "b" * 197)

    assert re.fullmatch(r"app/b{131}![0-9a-f]{64}", name)
    assert len(name) == LONGEST_NAME


def test_longer_names_with_one_head_differ() -> None:
    assert cache_name("app", "b" * 300) != cache_name("app", "b" * 301)


@given(PART, PART, PART, PART)
def test_two_branches_never_share_a_name(project: str, branch: str, other_project: str, other_branch: str) -> None:
    same_input = (project, branch) == (other_project, other_branch)

    assert (cache_name(project, branch) == cache_name(other_project, other_branch)) == same_input


@given(PART, PART)
def test_every_name_is_a_safe_key_and_is_taken_as_an_option(project: str, branch: str) -> None:
    name = cache_name(project, branch)

    assert re.fullmatch(r"[A-Za-z0-9_.~%/-]+(![0-9a-f]{64})?", name)
    assert name.count("/") <= 1
    assert not {".", ".."} & set(name.split("/"))
    assert len(name) <= LONGEST_NAME
    cache_options(MAIN, name)


@given(PART, PART)
def test_a_short_name_can_be_read_back(project: str, branch: str) -> None:
    name = cache_name(project, branch)

    if "!" not in name:
        assert tuple(map(unquote, name.split("/"))) == (project, branch)


@pytest.mark.parametrize(("project", "branch", "what"), [("", "main", "project"), ("app", "", "branch")])
def test_an_empty_project_or_branch_is_refused(project: str, branch: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"a cache name needs a {what}; got an empty string: pass for example"):
        cache_name(project, branch)


def test_the_options_are_these_and_carry_no_bucket_region_or_credential() -> None:
    options = cache_options(MAIN, NAME)

    source = "type=s3,prefix=main/,name=app/feature,access_key_id=,secret_access_key="
    assert options.cache_from == (source,)
    assert options.cache_to == (f"{source},mode=max,ignore-error=true",)


def test_the_options_are_arguments_of_buildx() -> None:
    options = cache_options(MAIN, NAME, fallback_names=["app/main"])

    first, second = options.cache_from
    assert options.arguments == ["--cache-from", first, "--cache-from", second, "--cache-to", options.cache_to[0]]


def test_the_branch_is_imported_before_the_default_branch_and_alone_exported() -> None:
    options = cache_options(MAIN, NAME, fallback_names=["app/develop", "app/main", NAME])

    assert names(options.cache_from) == ["main/app/feature", "main/app/develop", "main/app/main"]
    assert names(options.cache_to) == ["main/app/feature"]


def test_other_scopes_are_imported_last_and_never_exported() -> None:
    options = cache_options(
        PULL_REQUESTS, NAME, fallback_names=["app/main"], read_scopes=[MAIN, PULL_REQUESTS, NIGHTLY]
    )

    assert names(options.cache_from) == [
        "pull-requests/app/feature",
        "pull-requests/app/main",
        "main/app/feature",
        "main/app/main",
        "nightly/app/feature",
        "nightly/app/main",
    ]
    assert names(options.cache_to) == ["pull-requests/app/feature"]


def test_the_mode_of_the_export_can_be_min() -> None:
    assert ",mode=min," in cache_options(MAIN, NAME, mode="min").cache_to[0]


def test_another_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="a cache export's mode is 'max' or 'min'; got 'most': use 'max'"):
        cache_options(MAIN, NAME, mode="most")


@pytest.mark.parametrize("name", ["", "app/a,b", "app;b", "app b", "größe", "a=b\n"])
def test_a_name_that_was_not_encoded_is_refused(name: str) -> None:
    words = re.escape(f"a cache name is what cache_name(project, branch) returns; got {name!r}: pass it through")

    with pytest.raises(ValueError, match=words):
        cache_options(MAIN, name)
    with pytest.raises(ValueError, match=words):
        cache_options(MAIN, NAME, fallback_names=[name])


def names(values: tuple[str, ...]) -> list[str]:
    """The key prefix and name of each option."""
    fields = [dict(part.split("=", 1) for part in value.split(",")) for value in values]
    return [each["prefix"] + each["name"] for each in fields]
