"""The cache options that the tool writes: every form, what is imported, and what would send credentials."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_flags import Branch, Flags, Form, fleet_flags, registry_flags, with_own, write
from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from buildkit_ops.failures import CACHE_NAME, NO_REPOSITORY, ONE_ARCHITECTURE, SENDS_CREDENTIALS, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.own_credentials import refuse_own_credentials
from buildkit_ops.registry_cache import LONGEST_TAG, cache_tag, read_repository

if TYPE_CHECKING:
    from buildkit_ops.account import Account

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
KEYS = "access_key_id=,secret_access_key="
FLEET = FleetOutputs(
    stack="builders",
    write=CacheScope("main"),
    server_name="main.internal",
    certificate_secret="secret",  # noqa: S106 - its name
    wake_function="waker",
    cache_names_function="names",
    endpoints={ARM64: "tcp://main.internal:1235"},
)
URI = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app"
BRANCH = Branch(project="app", branch="feature", default_branch="main")


class Answers:
    """Stands in for the account: a choice, and the tags of a repository."""

    def __init__(self, choice: Any = None, tags: Sequence[str] = ()) -> None:  # noqa: ANN401 - JSON
        self.choice = choice
        self.tags = tags
        self.asked: list[Any] = []

    def invoke(self, function: str, event: Any, **_: str) -> Any:  # noqa: ANN401 - JSON
        self.asked.append((function, event))
        return {"choice": self.choice}

    def tags_of(self, repository: str, registry: str, tags: Sequence[str]) -> set[str]:
        self.asked.append((repository, registry, tags))
        return set(tags) & set(self.tags)


def fleet_options(answers: Answers, branch: Branch = BRANCH) -> Flags:
    return fleet_flags(cast("Account", answers), FLEET, branch, (ARM64,))


def test_the_function_is_asked_for_the_branch_and_then_the_default_branch() -> None:
    answers = Answers()

    fleet_options(answers)

    assert answers.asked == [("names", {"names": ["app/feature", "app/main"], "architectures": ["arm64"]})]


def test_the_default_branch_itself_is_asked_for_once() -> None:
    answers = Answers()

    fleet_options(answers, Branch(project="app", branch="main", default_branch="main"))

    assert answers.asked[0][1]["names"] == ["app/main"]


def test_what_was_chosen_is_the_one_import_and_the_export_stays_the_branchs() -> None:
    choice = {"scope": "nightly", "name": "app/main", "architectures": ["arm64"]}

    found = fleet_options(Answers(choice))

    assert found.options.cache_from == (f"type=s3,prefix=nightly/,name=app/main,{KEYS}",)
    assert found.options.cache_to == (f"type=s3,prefix=main/,name=app/feature,{KEYS},mode=max,ignore-error=true",)
    assert found.found == choice


def test_a_source_beside_what_it_was_chosen_from_is_refused() -> None:
    source = (CacheScope("main"), "app/main")

    with pytest.raises(ValueError, match="a source is the one cache that is imported; got it together with"):
        cache_options(CacheScope("main"), "app/x", source=source, fallback_names=["app/main"])
    with pytest.raises(ValueError, match="a cache name is what cache_name"):
        cache_options(CacheScope("main"), "app/x", source=(CacheScope("main"), "app/main,region=x"))


@pytest.mark.parametrize("branch", [Branch(project="", branch="x"), Branch(project="app", branch="")])
def test_an_empty_project_or_branch_is_refused_as_a_command_line(branch: Branch) -> None:
    tries: list[Callable[[], Flags]] = [
        lambda: fleet_options(Answers(), branch),
        lambda: registry(Answers(), branch=branch),
    ]
    for flags in tries:
        with pytest.raises(ToolError, match="no cache can be named: a cache name needs a") as raised:
            flags()

        assert raised.value.failure is CACHE_NAME


OPTIONS = CacheOptions(cache_from=(f"type=s3,name=a/b!c,{KEYS}",), cache_to=(f"type=s3,name=a/b,{KEYS},mode=max",))


def test_the_form_for_build_is_read_by_a_shells_substitution() -> None:
    written = write(OPTIONS, Form.BUILD, target="default")

    done = subprocess.run(
        ["bash", "-c", 'printf "%s\\n" $(cat)'], input=written, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == OPTIONS.arguments


def test_every_name_that_can_be_made_survives_a_shells_substitution() -> None:
    name = cache_name("Team*/~[App] $x", "feature/ü ,;'\"\\`" + "b" * 300)
    options = cache_options(CacheScope("main"), name)

    done = subprocess.run(
        ["bash", "-c", 'printf "%s\\n" $(cat)'],
        input=write(options, Form.BUILD, target="default"),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == options.arguments


def test_the_form_for_bake_overrides_one_target() -> None:
    assert json.loads(write(OPTIONS, Form.BAKE, target="web")) == {
        "target": {"web": {"cache-from": list(OPTIONS.cache_from), "cache-to": list(OPTIONS.cache_to)}}
    }


def test_the_form_for_github_is_lists_of_lines() -> None:
    two = CacheOptions(cache_from=("a", "b"), cache_to=("c",))

    assert write(two, Form.GITHUB_OUTPUT, target="default").splitlines() == [
        *("cache-from<<END-OF-cache-from", "a", "b", "END-OF-cache-from"),
        *("cache-to<<END-OF-cache-to", "c", "END-OF-cache-to"),
    ]


@pytest.mark.parametrize(
    "option",
    [
        "type=s3,name=app",
        "type=s3,name=app,access_key_id=",
        "type=s3,name=app,secret_access_key=",
        "type=s3,name=app,access_key_id=AKIA,secret_access_key=hidden",
        f"type=s3,name=app,{KEYS},session_token=hidden",
        "name=app, type=s3",
        '"type=s3",name=app',
    ],
)
def test_an_option_that_would_send_credentials_is_refused_with_its_mend_and_without_its_secret(option: str) -> None:
    with pytest.raises(ToolError) as raised:
        refuse_own_credentials(option)

    assert raised.value.failure is SENDS_CREDENTIALS
    mended = str(raised.value).rpartition("write ")[2]
    refuse_own_credentials(mended)
    assert mended.endswith(KEYS)
    assert "hidden" not in str(raised.value)
    assert "AKIA" not in str(raised.value)


@pytest.mark.parametrize(
    "option", [f"type=s3,name=app,{KEYS}", "type=registry,ref=app:cache", "type=inline", "user/app"]
)
def test_other_options_are_taken_along(option: str) -> None:
    found = with_own(Flags(options=OPTIONS, found=None), cache_from=[option], cache_to=[])

    assert found.options.cache_from == (*OPTIONS.cache_from, option)


def test_own_options_are_looked_at_in_both_directions() -> None:
    for own in ({"cache_from": ["type=s3"], "cache_to": []}, {"cache_from": [], "cache_to": ["type=s3"]}):
        with pytest.raises(ToolError):
            with_own(Flags(options=OPTIONS, found=None), **own)


def registry(answers: Answers, architectures: Sequence[Architecture] = (ARM64,), branch: Branch = BRANCH) -> Flags:
    return registry_flags(cast("Account", answers), read_repository(URI), branch, architectures)


def test_a_registrys_cache_imports_the_tag_that_is_there_and_exports_to_the_branchs() -> None:
    answers = Answers(tags=["cache-arm64-app_2fmain"])

    found = registry(answers)

    assert answers.asked == [("team/app", "111122223333", ["cache-arm64-app_2ffeature", "cache-arm64-app_2fmain"])]
    assert found.options.cache_from == (f"type=registry,ref={URI}:cache-arm64-app_2fmain",)
    (export,) = found.options.cache_to
    assert export.startswith(f"type=registry,ref={URI}:cache-arm64-app_2ffeature,mode=max,image-manifest=true,")


def test_a_registry_without_a_cache_imports_the_branchs_own_tag() -> None:
    found = registry(Answers())

    assert found.options.cache_from == (f"type=registry,ref={URI}:cache-arm64-app_2ffeature",)
    assert found.found is None


@pytest.mark.parametrize("architectures", [(), (ARM64, X86_64)])
def test_a_registrys_cache_is_one_architectures(architectures: Sequence[Architecture]) -> None:
    with pytest.raises(ToolError) as raised:
        registry(Answers(), architectures)

    assert raised.value.failure is ONE_ARCHITECTURE


@pytest.mark.parametrize("uri", [None, "", "app", "docker.io/library/app", f"{URI}:tag", f"{URI},mode=min"])
def test_what_is_no_repository_is_refused(uri: str | None) -> None:
    with pytest.raises(ToolError) as raised:
        read_repository(uri)

    assert raised.value.failure is NO_REPOSITORY
    assert f"got {uri!r}" in str(raised.value)


def test_a_repository_says_its_region_and_account() -> None:
    repository = read_repository("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/app")

    assert (repository.region, repository.registry, repository.name) == ("cn-north-1", "111122223333", "app")


def test_no_two_branches_share_a_tag_and_every_tag_is_one() -> None:
    branches = ["a/b", "a_b", "a_2fb", "a_252Fb", "a-b", "a%2Fb", "ü", "A/b", "x" * 300, "x" * 301, "."]

    tags = [cache_tag("app", branch, each) for branch in branches for each in Architecture]

    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert len(tag) <= LONGEST_TAG
        assert set(tag) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "cdk-buildkit"), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_wrong_is_said_on_standard_error_and_in_json(tmp_path: Path) -> None:
    bare = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "XDG_STATE_HOME": str(tmp_path)}

    done = run("flags", "stack", "--project=a", "--branch=b", "--json", **bare)

    assert done.returncode == 3
    assert done.stderr == "cdk-buildkit: no AWS region is set; set AWS_REGION or pass --region: the fleet's own\n"
    assert json.loads(done.stdout)["error"] == {"code": "no-region", "message": done.stderr.strip()[14:]}


def test_a_wrong_command_line_ends_with_2_and_prints_no_traceback() -> None:
    done = run("connect", "stack", "--architecture=riscv")

    assert done.returncode == 2
    assert "riscv" in done.stderr
    assert "Traceback" not in done.stderr


def test_disconnecting_where_nothing_is_connected_is_done_already(tmp_path: Path) -> None:
    done = run("disconnect", XDG_STATE_HOME=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "nothing was connected\n")


def test_a_shell_completes_the_commands() -> None:
    words = {"COMP_WORDS": "cdk-buildkit ", "COMP_CWORD": "1"}

    done = run(_CDK_BUILDKIT_COMPLETE="complete_bash", **words)

    assert done.stdout.split() == ["connect", "flags", "retry", "github-job", "disconnect"]
