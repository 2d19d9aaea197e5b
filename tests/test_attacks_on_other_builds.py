"""Builds that want what other builds have: their caches, their secrets, their network."""

from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler, UDPServer

import pytest

from local.builder import Builder
from local.client import BuildError
from tests.attacker import Attacker, beyond, join_ports, let_through, meanwhile, until_answered

pytest_plugins = ["tests.attack_fixtures"]

FROM_STEPS = ("--in-interface", "buildkit0")
SERVICE = ("192.0.2.2", 5353)


class AnswerDatagrams(BaseRequestHandler):
    def handle(self) -> None:
        _, asking = self.request
        asking.sendto(b"for-another-build", self.client_address)


@pytest.fixture
def victim(make_attacker: Callable[[str, Builder], Attacker], builder: Builder) -> Attacker:
    """A client whose builds are attacked."""
    return make_attacker("main", builder)


def test_a_cache_mount_is_not_shared_with_another_fleet(attacker: Attacker, other_attacker: Attacker) -> None:
    options = "--mount=type=cache,id=shared,sharing=shared,target=/cache"
    assert attacker.run("write", "/cache/word", "of main", options=options) == "written"
    assert attacker.run("read", "/cache/word", options=options) == "of main"

    assert other_attacker.run("read", "/cache/word", options=options).startswith("FileNotFoundError")


def test_a_step_finds_nothing_of_another_builds_secret(attacker: Attacker, victim: Attacker, tmp_path: Path) -> None:
    word = "of-another-build"
    (tmp_path / "secret").write_text(word)
    mount = "--mount=type=secret,id=token"
    secret = ["--secret", f"id=token,src={tmp_path / 'secret'}"]
    with meanwhile(victim, attacker, "hold", "/run/secrets/token", options=mount, arguments=secret) as (_, held):
        asked = attacker.run("read", "/run/secrets/token", options=mount)
        found = attacker.run("find", word)
        assert not held.done()

    assert held.result() == word
    assert asked.startswith("FileNotFoundError")
    assert found == ""


def test_a_step_does_not_reach_a_step_of_another_build(attacker: Attacker, victim: Attacker, builder: Builder) -> None:
    # Without the rule for what is routed: with the module br_netfilter it would keep bridged packets apart as well.
    with (
        meanwhile(victim, attacker, "serve", "word") as (address, asked),
        let_through(builder, "raw", "PREROUTING", *FROM_STEPS),
    ):
        got = attacker.run("connect", address, "80")

    assert got.startswith("TimeoutError")
    assert asked.result() == ""


def test_without_isolated_ports_a_step_would_reach_a_step_of_another_build(
    attacker: Attacker, victim: Attacker, builder: Builder
) -> None:
    with (
        meanwhile(victim, attacker, "serve", "word") as (address, _),
        let_through(builder, "raw", "PREROUTING", *FROM_STEPS),
    ):
        join_ports(builder)

        # For three seconds the attacker's network remembers an address that it did not find.
        got = until_answered(lambda: attacker.run("http", "GET", f"http://{address}/"), "200")

    assert got == "200 word"


def test_the_daemon_cannot_be_sent_to_a_step_of_another_build(attacker: Attacker, victim: Attacker) -> None:
    with (
        meanwhile(victim, attacker, "serve", "word") as (address, asked),
        pytest.raises(BuildError, match="no route to host"),
    ):
        attacker.build(f"FROM scratch\nADD http://{address}/ /got\n")

    assert asked.result() == ""


def test_without_the_rules_the_daemon_could_be_sent_there(
    attacker: Attacker, victim: Attacker, builder: Builder
) -> None:
    with (
        meanwhile(victim, attacker, "serve", "word") as (address, _),
        let_through(builder, "filter", "OUTPUT", "--out-interface", "buildkit0"),
        let_through(builder, "raw", "PREROUTING", *FROM_STEPS),
        let_through(builder, "filter", "INPUT", *FROM_STEPS),
    ):
        assert attacker.build(f"FROM scratch\nADD http://{address}/ /got\n") == "word"


def test_a_step_does_not_take_over_the_address_of_another_builds(attacker: Attacker, victim: Attacker) -> None:
    with (
        beyond(*SERVICE, UDPServer, AnswerDatagrams),
        meanwhile(victim, attacker, "keep_asking", SERVICE[0], str(SERVICE[1])) as (address, got),
    ):
        taken = attacker.run("take_over", address, "for-another-build")

    assert taken.startswith("PermissionError")
    assert got.result() == "for-another-build"


@pytest.mark.usefixtures("raw_sockets")
def test_with_raw_sockets_a_step_would_take_over_the_address_of_another_builds(
    attacker: Attacker, victim: Attacker
) -> None:
    with (
        beyond(*SERVICE, UDPServer, AnswerDatagrams),
        meanwhile(victim, attacker, "keep_asking", SERVICE[0], str(SERVICE[1])) as (address, got),
    ):
        taken = attacker.run("take_over", address, "for-another-build")

    assert taken == "taken over"
    assert "TimeoutError" in got.result()
