"""A configuration is read with every default filled in, or refused with every problem told."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aws_cdk import aws_ec2 as ec2

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_expiration import expiration_margin_days
from cdk_buildkit.instance_types import instance_type_architecture
from stacks.config import Config, ConfigError, ScopesConfig, load_config

MARGIN = expiration_margin_days(timedelta(hours=1))
FLEET = "[builders.main]\n"
VPC = """
id = "vpc-0123456789abcdef0"
cidr = "10.20.0.0/16"
availability_zones = ["eu-west-1a", "eu-west-1b"]
private_subnet_ids = ["subnet-01234567", "subnet-89abcdef"]
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Config]:
    def load(text: str) -> Config:
        path = tmp_path / "builders.toml"
        path.write_text(text)
        return load_config(path)

    return load


def test_one_empty_fleet_is_a_whole_configuration(load: Callable[[str], Config]) -> None:
    config = load(FLEET)

    fleet = config.builders["main"]
    assert fleet.cache == ScopesConfig(write="main", read=("main",))
    assert fleet.longest_build == timedelta(hours=1)
    assert config.network.zone_name == "buildkit.buildkit.internal"
    assert config.architectures == (Architecture.ARM64, Architecture.X86_64)


def test_the_deployments_name_heads_the_zone(load: Callable[[str], Config]) -> None:
    config = load('[deployment]\nname = "build-eu"\n' + FLEET)

    assert config.network.zone_name == "build-eu.buildkit.internal"


def test_a_fleet_always_reads_the_scope_that_it_writes_and_reads_it_first(load: Callable[[str], Config]) -> None:
    config = load('[builders.main]\n[builders.pr]\ncache = { read = ["main"] }\n')

    assert config.builders["pr"].cache == ScopesConfig(write="pr", read=("pr", "main"))


def test_settings_of_architectures_that_are_not_in_use_are_dropped(load: Callable[[str], Config]) -> None:
    config = load(
        '[builders.main]\narchitectures = ["x86_64"]\nami = { arm64 = "ami-01234567" }\n'
        'instance_types = { arm64 = ["m7g.large"] }\n'
        '[cache]\nbucket_names = { arm64 = "for-arm64", x86_64 = "for-x86-64" }\n'
    )

    assert config.architectures == (Architecture.X86_64,)
    assert list(config.builders["main"].instance_types) == [Architecture.X86_64]
    assert config.builders["main"].ami == {}
    assert config.cache.bucket_names == {Architecture.X86_64: "for-x86-64"}
    assert list(config.buildkit.sha256) == [Architecture.X86_64]


def test_instance_types_of_one_architecture_leave_the_others_default(load: Callable[[str], Config]) -> None:
    types = load(FLEET + 'instance_types = { arm64 = ["m7gd.large"] }\n').builders["main"].instance_types

    assert types[Architecture.ARM64] == ("m7gd.large",)
    assert types[Architecture.X86_64][0] == "c6id.2xlarge"


def test_the_latest_ami_is_the_same_as_none(load: Callable[[str], Config]) -> None:
    config = load(FLEET + 'ami = { arm64 = "latest", x86_64 = "ami-01234567" }\n')

    assert config.builders["main"].ami == {Architecture.X86_64: "ami-01234567"}


@pytest.mark.parametrize(
    ("text", "duration"),
    [("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15)), ("0h60m", timedelta(hours=1))],
)
def test_a_duration_is_whole_hours_minutes_and_seconds(
    load: Callable[[str], Config], text: str, duration: timedelta
) -> None:
    assert load(f'{FLEET}longest_build = "{text}"\n').longest_build == duration


def test_the_smallest_margin_between_the_ages_is_accepted(load: Callable[[str], Config]) -> None:
    ages = f"[cache]\nblob_expiration_days = {10 + MARGIN}\nmanifest_expiration_days = 10\n"

    assert load(ages + FLEET).cache.blob_expiration_days == 10 + MARGIN


def test_a_given_vpc_zone_and_buckets_are_taken(load: Callable[[str], Config]) -> None:
    config = load(
        f'[network]\nzone_name = "internal"\nhosted_zone_id = "Z012ABC"\n[network.vpc]{VPC}'
        f'[cache]\nbucket_names = {{ arm64 = "one", x86_64 = "two" }}\n{FLEET}'
    )

    assert config.network.vpc is not None
    assert config.network.vpc.private_subnet_ids == ("subnet-01234567", "subnet-89abcdef")
    assert config.network.hosted_zone_id == "Z012ABC"
    assert config.cache.bucket_names == {Architecture.ARM64: "one", Architecture.X86_64: "two"}


def test_every_problem_is_told_at_once_in_the_order_of_the_file(load: Callable[[str], Config], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(
            "[cache]\nretain = 1\n"
            '[builders.pr]\ncache = { write = "main" }\nmin_capacity = 9\nspoot = true\n'
            '[builders.main]\nspot = 2\nami = { arm64 = "x" }\n'
            "[builders.last]\nmin_capacity = 9\n"
            "[network]\nmax_azs = 0\n"
        )

    heading, *problems = str(raised.value).splitlines()
    assert heading == f"{tmp_path / 'builders.toml'} is refused:"
    assert [problem.partition(": ")[0] for problem in problems] == [
        "cache.retain",
        "builders.pr.spoot",
        "builders.main.spot",
        "builders.main.ami.arm64",
        "builders.last.min_capacity",
        "network.max_azs",
    ]


def test_a_fleet_that_cannot_be_read_is_not_said_to_write_nothing(load: Callable[[str], Config]) -> None:
    with pytest.raises(ConfigError) as raised:
        load('[builders.main]\nspot = 1\n[builders.pr]\ncache = { read = ["main"] }\n')

    assert "builders.pr" not in str(raised.value)


SYNTAX_ERRORS = {
    "[builders.main]\nspot = yes\n": "line 2, column 8: not valid TOML: Invalid value: correct it there",
    "spot": "line 1, column 5: not valid TOML: Expected '=' after a key in a key/value pair: correct it there",
    "\n\nvpc = '''\nnever closed\n": "line 5, column 1: not valid TOML: Expected \"'''\": correct it there",
    f"[cache]\nblob_expiration_days = {'9' * 5000}\n": "line 2, column 24: a number is too long to be read: shorten it",
    f"a = {'[' * 5000}": "lists or tables are nested too deeply: flatten them",
}


@pytest.mark.parametrize(("text", "expected"), SYNTAX_ERRORS.items(), ids=range(len(SYNTAX_ERRORS)))
def test_what_is_no_toml_is_told_with_its_place(
    load: Callable[[str], Config], tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(text)

    assert str(raised.value) == f"{tmp_path / 'builders.toml'}: {expected}"


def test_lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "builders.toml"
    path.write_bytes(b"\xef\xbb\xbf[builders.main]\r\nspot = true\r\n")

    assert load_config(path).builders["main"].spot


def test_bytes_that_are_no_utf_8_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "builders.toml"
    path.write_bytes("# fein\n# schön".encode() + b" \xe4\n")

    with pytest.raises(
        ConfigError, match=r"builders\.toml: line 2, column 9: not UTF-8: save the file in that encoding"
    ):
        load_config(path)


def test_a_missing_file_is_told_with_the_path_that_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as raised:
        load_config(Path("prod.toml"))

    assert str(raised.value) == (
        f"prod.toml: no such file, looked for {tmp_path / 'prod.toml'}: name the configuration's file with "
        "-c config=<file>, or start from the builders.toml that comes with the project"
    )


def test_a_directory_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\): name a readable TOML file"):
        load_config(tmp_path)


def test_a_file_without_permission_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read every file

    with pytest.raises(ConfigError, match=r"cannot be read \(Permission denied\)"):
        load_config(tmp_path / "builders.toml")


def test_a_name_that_no_file_can_have_is_told_so() -> None:
    with pytest.raises(ConfigError, match=r'^"builders\\x00\.toml": cannot be read \(not a file\'s name\)'):
        load_config(Path("builders\0.toml"))


GRAVITON = ["a1", "t4g", "m7g", "c7gd", "c8gn", "x2gd", "im4gn", "is4gen", "i8ge", "g5g", "hpc7g", "r8gb"]
INTEL_AND_AMD = [
    "t3a",
    "m7i",
    "c6id",
    "m7i-flex",
    "x2iezn",
    "g4dn",
    "g6e",
    "gr6",
    "p4de",
    "inf2",
    "z1d",
    "hpc6id",
    "h1",
]


@pytest.mark.parametrize("family", GRAVITON)
def test_graviton_families_are_arm64_as_for_the_cdk(family: str) -> None:
    name = f"{family}.2xlarge"

    assert instance_type_architecture(name) is Architecture.ARM64
    assert ec2.InstanceType(name).architecture is ec2.InstanceArchitecture.ARM_64


@pytest.mark.parametrize("family", INTEL_AND_AMD)
def test_the_other_families_are_x86_64_as_for_the_cdk(family: str) -> None:
    name = f"{family}.2xlarge"

    assert instance_type_architecture(name) is Architecture.X86_64
    assert ec2.InstanceType(name).architecture is ec2.InstanceArchitecture.X86_64


@pytest.mark.parametrize(
    "name", ["", "m7g", "m7g.", "M7g.large", "m7g.large ", "mac2.metal", "m7g.large.x", "7g.large"]
)
def test_what_is_no_instance_type_for_linux_has_no_architecture(name: str) -> None:
    assert instance_type_architecture(name) is None
