"""Whatever stands in the file: a configuration that keeps its promises, or one error that names what is wrong."""

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from buildkit_ops.cache_expiration import CacheExpiration
from buildkit_ops.cache_scope import CacheScope
from cdk_buildkit.group_scaling import check_scaling
from cdk_buildkit.handlers.certificates.rotation import CertificateLives
from cdk_buildkit.instance_types import instance_type_architecture
from stacks.config import Config, ConfigError, load_config
from stacks.fleet_stack import capacity_of, scaling_of
from stacks.github_actions import subjects_of
from stacks.runners import compute_of, tools_of

SHIPPED = (Path(__file__).parent.parent / "builders.toml").read_bytes()

AS_SHIPPED = tomllib.loads(SHIPPED.decode())
EVERYTHING_SET: dict[str, Any] = {
    **AS_SHIPPED,
    "deployment": {"name": "build-eu", "tags": {"team": "builds", "cost": "7"}, "permissions_boundary": "developer"},
    "network": {
        "cidr": "10.20.0.0/20",
        "max_azs": 3,
        "zone_name": "buildkit.internal",
        "hosted_zone_id": "Z0123456789ABCDEFGHIJ",
        "vpc": {
            "id": "vpc-01234567",
            "cidr": "10.0.0.0/16",
            "availability_zones": ["eu-west-1a", "eu-west-1b"],
            "private_subnet_ids": ["subnet-01234567", "subnet-89abcdef"],
        },
    },
    "cache": {
        "blob_expiration_days": 27,
        "manifest_expiration_days": 21,
        "kms_key_arn": "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef",
        "retain": False,
        "bucket_names": {"arm64": "cache-arm64", "x86_64": "cache-x86-64"},
    },
    "builders": {
        **AS_SHIPPED["builders"],
        "warm": {
            "architectures": ["arm64"],
            "instance_types": {"arm64": ["c7g.large"]},
            "scaling": {
                "target_builds_per_builder": 2.5,
                "max_builds": 5,
                "max_parallelism": 8,
                "schedules": [
                    {"cron": "0 8 * * *", "time_zone": "Europe/Berlin", "min_capacity": 2, "max_capacity": 4}
                ],
                "warm_pool": {"min_size": 1, "max_prepared_capacity": 3},
            },
        },
    },
    "observability": {"alarm_topic_arn": "arn:aws:sns:eu-west-1:111122223333:on-call", "log_retention_days": 90},
    "runner_tools": {
        "buildx": {"version": "v0.36.1", "sha256": {"arm64": "0" * 64}},
        "ecr_credential_helper": {"version": "0.12.0", "sha256": {"arm64": "1" * 64}},
    },
    "runners": {
        "default": {
            "builder": "main",
            "labels": ["buildkit", "default"],
            "provider": "fargate",
            "architecture": "arm64",
            "cpu": 2048,
            "memory_mib": 4096,
            "warm": {"count": 2, "owner": "example"},
            "webhook": {"access": "gateway", "cidrs": ["198.51.100.0/24"]},
            "vpc": {
                "id": "vpc-89abcdef",
                "cidr": "10.1.0.0/16",
                "availability_zones": ["eu-west-1a"],
                "private_subnet_ids": ["subnet-cdef0123"],
            },
            "peers": ["sg-01234567"],
        },
    },
    "github_actions": {
        "default": {
            "builder": "main",
            "repositories": ["org/app", "org@123456/new@456789"],
            "branches": ["main"],
            "environments": ["production"],
        },
        "pr": {"builder": "pull-requests", "repositories": ["org/app"], "pull_requests": True},
    },
}

KEYS = [
    *EVERYTHING_SET,
    *EVERYTHING_SET["builders"]["main"],
    *EVERYTHING_SET["runners"]["default"],
    *EVERYTHING_SET["github_actions"]["default"],
    "arm64",
    "x86_64",
    "read",
    "write",
    "iops",
    "main",
    "id",
]
REFUSAL = re.compile(r'[A-Za-z0-9_."\\\[\]: -].*: got .+, allowed .+: .+')
UNREADABLE = re.compile(
    r"(line \d+, column \d+: (not valid TOML: .+|not UTF-8|a number is too long to be read)"
    r"|lists or tables are nested too deeply): .+"
)

numbers = st.one_of(
    st.integers(-2, 100), st.integers(), st.sampled_from([2**63, 10**4000, -(10**400)]), st.floats(), st.booleans()
)
words = st.one_of(
    st.text(max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=90),
    st.sampled_from(
        [
            "main",
            "arm64",
            "latest",
            "1h",
            "999999h",
            "1h0m0s",
            "m7g.large",
            "10.0.0.0/16",
            "10.10.0.0/24",
            "::/0",
            "\x85",
        ]
    ),
)
moments = st.one_of(st.dates(), st.times(), st.datetimes())
values = st.recursive(
    st.one_of(numbers, words, moments),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), words), inner, max_size=4)
    ),
    max_leaves=6,
)


def toml(value: Any) -> str:  # noqa: ANN401 - what a TOML file may hold
    """Write a value as TOML; tables are inline, so that their order and their keys' characters do not matter."""
    match value:
        case dict():
            text = "{" + ", ".join(f"{quoted(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
        case list():
            text = "[" + ", ".join(map(toml, value)) + "]"
        case str():
            text = quoted(value)
        case bool():
            text = str(value).lower()
        case date() | time():
            text = value.isoformat()
        case _:
            text = repr(value)
    return text


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def places(node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - what a TOML file may hold
    """Yield every table or list with each of its keys or positions."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


@st.composite
def mutated_documents(draw: st.DrawFn) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from([EVERYTHING_SET, AS_SHIPPED])))
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(document))
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        other_holder, other_key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["delete", "replace", "wrap", "rename", "swap", "add"])):
            case "delete":
                del holder[key]
            case "wrap":
                holder[key] = draw(st.sampled_from([[holder[key]], {"main": holder[key]}]))
            case "rename" if isinstance(holder, dict):
                holder[draw(st.one_of(words, st.sampled_from(KEYS)))] = holder.pop(key)
            case "swap":
                # Copies: a table that were put into itself would have no end.
                mine, others = copy.deepcopy(holder[key]), copy.deepcopy(other_holder[other_key])
                holder[key], other_holder[other_key] = others, mine
            case "add" if isinstance(holder, dict):
                holder[draw(st.one_of(words, st.sampled_from(KEYS)))] = copy.deepcopy(other_holder[other_key])
            case "add":
                holder.append(copy.deepcopy(other_holder[other_key]))
            case _:
                holder[key] = draw(values)
    return document


@st.composite
def damaged_texts(draw: st.DrawFn) -> bytes:
    text = bytearray(SHIPPED)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 1, 1, 2, 40]))
        text[start:end] = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from(
                    [b'"', b"'''", b"[", b"]]", b"=", b"\n", b"\r", b"#", b"\\", b"\xef\xbb\xbf", b"[" * 4000]
                ),
                st.just(b"9" * 4400),
            )
        )
    return bytes(text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text)


def assert_sound(config: Config) -> None:
    """Assert what the stacks rely on."""
    fleets = config.builders
    assert fleets
    CacheExpiration(
        blob_days=config.cache.blob_expiration_days,
        manifest_days=config.cache.manifest_expiration_days,
        longest_build=config.longest_build,
    )
    written = [fleet.cache.write for fleet in fleets.values()]
    assert len(set(written)) == len(written)
    for name, fleet in fleets.items():
        CacheScope(name)
        lives = CertificateLives(
            server=timedelta(days=fleet.certificates.server_life_days),
            client=timedelta(days=fleet.certificates.client_life_days),
        )
        assert timedelta(days=fleet.max_instance_lifetime_days) <= lives.longest_instance_lifetime
        assert fleet.cache.read[0] == fleet.cache.write
        assert set(fleet.cache.read) <= set(written)
        assert 0 <= fleet.min_capacity <= fleet.max_capacity
        assert fleet.max_capacity >= 1
        assert set(fleet.instance_types) == set(fleet.architectures) >= set(fleet.ami)
        for architecture, instance_types in fleet.instance_types.items():
            assert {instance_type_architecture(each) for each in instance_types} == {architecture}
        assert fleet.volume.throughput * 4 <= fleet.volume.iops <= fleet.volume.size_gib * 500
        assert 60 <= fleet.longest_build.total_seconds() <= 3600
        for architecture in fleet.architectures:
            check_scaling(scaling_of(fleet.scaling), capacity_of(fleet, architecture), architecture)
        assert len(f"{name}.{config.network.zone_name}") <= 253
    for runners in config.runners.values():
        assert runners.builder in fleets
        tools_of(config.runner_tools).check(compute_of(runners).architecture)
    for role in config.github_actions.values():
        subjects_of(role)  # it refuses what would let in more than it says
        others = {each.builder for each in config.github_actions.values() if not each.pull_requests}
        others |= {each.builder for each in config.runners.values() if not each.pull_requests}
        assert not (role.pull_requests and role.builder in others)
    assert set(config.buildkit.sha256) == set(config.architectures)
    assert set(config.cache.bucket_names) in (set(), set(config.architectures))
    assert not any(key.lower().startswith("aws:") for key in config.deployment.tags)
    vpc = config.network.vpc
    assert not IPv4Network(vpc.cidr if vpc else config.network.cidr).overlaps(IPv4Network("10.10.0.0/16"))
    assert vpc is None or len(vpc.availability_zones) == len(vpc.private_subnet_ids)


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Config | None]:
    """Load the bytes: a sound configuration is returned, an error has the form of an error, and None is returned."""
    path = tmp_path_factory.mktemp("mutations") / "builders.toml"

    def check(content: bytes) -> Config | None:
        path.write_bytes(content)
        try:
            config = load_config(path)
        except ConfigError as error:
            heading, *problems = str(error).splitlines()
            if problems:
                assert heading == f"{path} is refused:"
                assert all(REFUSAL.fullmatch(problem) for problem in problems)
            else:
                assert UNREADABLE.fullmatch(heading.removeprefix(f"{path}: "))
            return None
        assert_sound(config)
        return config

    return check


def as_file(document: dict[str, Any]) -> bytes:
    return "".join(f"{quoted(key)} = {toml(value)}\n" for key, value in document.items()).encode()


def test_without_a_mutation_the_files_are_configurations(check: Callable[[bytes], Config | None]) -> None:
    assert check(SHIPPED)
    assert check(as_file(EVERYTHING_SET))


@settings(max_examples=2500, deadline=None, print_blob=True)
@given(document=mutated_documents())
@example(document={})
@example(document={"builders": {"main": {"longest_build": "9" * 5000}}})
def test_a_document_with_other_keys_and_values_is_sound_or_refused(
    check: Callable[[bytes], Config | None], document: dict[str, Any]
) -> None:
    event("sound" if check(as_file(document)) else "refused")


@settings(max_examples=1500, deadline=None, print_blob=True)
@given(content=damaged_texts())
@example(content=b"\xff")
@example(content=b"a = " + b"[" * 100_000)
@example(content=b"a = " + b"9" * 5000)
def test_a_damaged_text_is_sound_or_refused(check: Callable[[bytes], Config | None], content: bytes) -> None:
    event("sound" if check(content) else "refused")
