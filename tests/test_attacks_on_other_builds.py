"""Builds that want what other builds have: their caches and their secrets."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.builder import Builder
from tests.attacker import Attacker, inside, until_answered

pytest_plugins = ["tests.attack_fixtures"]


def test_a_cache_mount_is_not_shared_with_another_fleet(attacker: Attacker, other_attacker: Attacker) -> None:
    options = "--mount=type=cache,id=shared,sharing=shared,target=/cache"
    assert attacker.run("write", "/cache/word", "of main", options=options) == "written"
    assert attacker.run("read", "/cache/word", options=options) == "of main"

    assert other_attacker.run("read", "/cache/word", options=options).startswith("FileNotFoundError")


def test_a_step_finds_nothing_of_another_builds_secret(
    make_attacker: Callable[[str, Builder], Attacker], builder: Builder, attacker: Attacker, tmp_path: Path
) -> None:
    word = "of-another-build"
    (tmp_path / "secret").write_text(word)
    victim = make_attacker("main", builder)
    secret = ["--secret", f"id=token,src={tmp_path / 'secret'}"]
    with ThreadPoolExecutor() as threads:
        mount = "--mount=type=secret,id=token"
        end = "--mount=type=cache,id=end,target=/end"
        held = threads.submit(
            victim.run, "hold", "/run/secrets/token", "/end/now", options=f"{mount} {end}", arguments=secret
        )
        assert until_answered(lambda: steps_that_hold(builder), "1") == "1"

        asked = attacker.run("read", "/run/secrets/token", options=mount)
        found = attacker.run("find", word)

        assert not held.done()
        attacker.run("write", "/end/now", "", options=end)
        assert held.result() == word
    assert asked.startswith("FileNotFoundError")
    assert found == ""


def steps_that_hold(builder: Builder) -> str:
    """The number of steps that are just holding a secret on a builder."""
    lines = subprocess.run(
        [*inside(builder), "--pid", "--mount", "ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return str(sum(line.startswith("python3 /attack/probe.py /got hold") for line in lines))
