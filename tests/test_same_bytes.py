"""The same input gives the same bytes: anywhere, offline, without an AWS account and without a lookup."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WITHOUT_NETWORK = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
"""A network namespace of its own has no interface but a loopback that is down."""

TEMPLATES = {"builders.toml": 6, "examples/eks.toml": 6, "examples/github-actions.toml": 9, "examples/runners.toml": 8}
"""Configurations of every kind, with the number of their stacks."""


@pytest.fixture(scope="module", params=TEMPLATES)
def synthesized(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The output directories of two synths of the same files in different places, with nothing in the environment."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True)
    names = [name for name in answer.stdout.split("\0") if name and (root / name).is_file()]
    outputs = []
    for place in ("here", "somewhere/quite/else"):
        tree = tmp_path_factory.mktemp("tree") / place
        for name in names:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, tree / name)
        subprocess.run(
            [*WITHOUT_NETWORK, "cdk", "synth", "--quiet", "--context", f"config={request.param}"],
            cwd=tree,
            env=bare_environment(tree, tmp_path_factory.mktemp("home")),
            check=True,
            capture_output=True,
        )
        outputs.append(tree / "cdk.out")
    return outputs


def bare_environment(tree: Path, home: Path) -> dict[str, str]:
    """The least with which the command line tool finds Python, Node.js and this tree's packages."""
    programs = f"{Path(sys.executable).parent}:{os.defpath}"
    return {"PATH": programs, "HOME": str(home), "PYTHONPATH": str(tree / "constructs"), "CDK_VALIDATION": "false"}


@pytest.fixture(scope="module")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Read every file below a directory, by its relative path."""
    return lambda directory: {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_two_places_give_the_same_files_byte_for_byte(
    synthesized: list[Path], contents: Callable[[Path], dict[str, bytes]], request: pytest.FixtureRequest
) -> None:
    here, elsewhere = map(contents, synthesized)

    assert sorted(here) == sorted(elsewhere)
    assert [name for name in here if here[name] != elsewhere[name]] == []
    assert (
        len([name for name in here if name.endswith(".template.json")])
        == TEMPLATES[request.node.callspec.params["synthesized"]]
    )


def test_no_file_tells_of_the_place_where_it_was_made(
    synthesized: list[Path], contents: Callable[[Path], dict[str, bytes]], root: Path
) -> None:
    places = [str(synthesized[0].parent).encode(), str(root).encode(), b"jsii-kernel"]

    telling = [name for name, data in contents(synthesized[0]).items() if any(place in data for place in places)]
    assert telling == []


def test_nothing_is_looked_up(synthesized: list[Path]) -> None:
    for output in synthesized:
        manifest = json.loads((output / "manifest.json").read_text())
        assert "missing" not in manifest
        assert not (output.parent / "cdk.context.json").exists()


def test_account_and_region_stay_open_until_deployment(synthesized: list[Path]) -> None:
    manifest = json.loads((synthesized[0] / "manifest.json").read_text())

    stacks = [each for each in manifest["artifacts"].values() if each["type"] == "aws:cloudformation:stack"]
    assert {each["environment"] for each in stacks} == {"aws://unknown-account/unknown-region"}
