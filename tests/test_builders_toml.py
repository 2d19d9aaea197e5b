"""The shipped builders.toml shows every setting with its default, and what it shows is true."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import pytest
from aws_cdk import Size

from buildkit_ops.cache_expiration import CacheExpiration, expiration_margin_days
from cdk_buildkit import BuilderCapacity, BuilderScaling, BuildKitRelease, StoreVolume
from stacks.config import (
    BuildkitConfig,
    CacheConfig,
    Config,
    FleetConfig,
    GithubActionsConfig,
    RunnerConfig,
    RunnerScaleSetConfig,
    ScalingConfig,
    VolumeConfig,
    load_config,
)

SHIPPED = Path(__file__).parent.parent / "builders.toml"
LINES = SHIPPED.read_text().splitlines()

COMMENTED_OUT = re.compile(r"# ((?P<name>\[[a-z_.]+\]|[a-z_]+|sha256)( = .+)?)")
SETTING = re.compile(r"(# )?[a-z_]+ = .+")  # no architecture: a digit is in the name of each

TOOLS = ["[runner_tools.buildx]", "[runner_tools.ecr_credential_helper]", "version", "url", "sha256"]
USED_TOGETHER = {
    "permissions_boundary": ["permissions_boundary"],
    "zone_name": ["zone_name"],
    "hosted_zone_id": ["zone_name", "hosted_zone_id"],
    "vpc": ["[network.vpc]", "id", "cidr", "availability_zones", "private_subnet_ids"],
    "kms_key_arn": ["kms_key_arn"],
    "bucket_names": ["bucket_names"],
    "clients": ["clients"],
    "ami": ["ami"],
    "max_parallelism": ["max_parallelism"],
    "step_memory_mib": ["step_memory_mib"],
    "step_cpus": ["step_cpus"],
    "schedules": ["schedules"],
    "warm_pool": ["[builders.main.scaling.warm_pool]", "min_size", "max_prepared_capacity", "reuse_on_scale_in"],
    "alarm_topic_arn": ["alarm_topic_arn"],
    "buildkit_image": ["buildkit_image"],
    "aws_cli_image": ["aws_cli_image"],
    "admin_principals": ["admin_principals"],
    "public_access_cidrs": ["public_access_cidrs"],
    "cluster": ["[kubernetes.cluster]", "name", "security_group_id", "auto_mode"],
    "namespace": ["namespace"],
    "image_registry": ["image_registry"],
    "operator_digest": ["operator_digest"],
    "metrics_server_digest": ["metrics_server_digest"],
    "driver": ["[builders.main.kubernetes.driver]", "group", "max_builders", "timeout_minutes"],
    "client_namespaces": ["client_namespaces"],
    "egress": ["egress"],
    "instance_families": ["instance_families"],
    "runner_tools": TOOLS,
    "runners": [
        *TOOLS,
        "[runners.default]",
        *(field.name for field in fields(RunnerConfig)),
    ],
    "runner_scale_sets": [
        "buildkit_image",
        "aws_cli_image",
        "admin_principals",
        "[runner_scale_sets.default]",
        *(field.name for field in fields(RunnerScaleSetConfig)),
    ],
    "github_actions": ["[github_actions.default]", *(field.name for field in fields(GithubActionsConfig))],
}
"""For each optional setting, the commented lines that make it; in brackets, a table's heading."""


def without_comment_signs(names: list[str]) -> str:
    lines = []
    in_other_table = False  # of which some names are those of a table that is meant
    for line in LINES:
        match = COMMENTED_OUT.fullmatch(line)
        if line.startswith(("[", "# [")):
            in_other_table = match is not None and match["name"] not in names
        lines.append(match[1] if match and match["name"] in names and not in_other_table else line)
    return "\n".join(lines)


def settings(kind: type, prefix: str = "") -> dict[str, Any]:
    """Return the path of every setting in a class and in the classes in it, with its default, or None for none."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        factory = field.default_factory
        found[prefix + field.name] = field.default if factory is MISSING else factory()
        union = get_args(field.type) if isinstance(field.type, UnionType) else ()
        for each in (field.type, *union):
            if isinstance(each, type) and is_dataclass(each):
                inner = settings(each, f"{prefix}{field.name}.")
                # What is in a table that is not there by default is not there either.
                found |= dict.fromkeys(inner) if union else inner
    return {path: None if default is MISSING else default for path, default in found.items()}


SETTINGS = (
    settings(Config)
    | settings(FleetConfig, "builders.main.")
    | dict.fromkeys(settings(RunnerScaleSetConfig, "runner_scale_sets.default."))
    | dict.fromkeys(settings(RunnerConfig, "runners.default."))  # no fleet of runners is there by default
    | dict.fromkeys(settings(GithubActionsConfig, "github_actions.default."))  # nor a role
)


def has(document: Mapping[str, Any], path: str) -> bool:
    node: Any = document
    for key in path.split("."):
        if key not in node:
            return False
        node = node[key]
    return True


def test_the_shipped_file_sets_nothing_but_defaults(tmp_path: Path) -> None:
    bare = tmp_path / "builders.toml"
    bare.write_text("[builders.main]\n[builders.pull-requests]\nspot = true\n")

    assert load_config(SHIPPED) == load_config(bare)


@pytest.mark.parametrize("path", [path for path, default in SETTINGS.items() if default not in (None, {}, (), "")])
def test_every_setting_with_a_default_is_set_in_the_file(path: str) -> None:
    assert has(tomllib.loads(SHIPPED.read_text()), path)


@pytest.mark.parametrize("path", SETTINGS)
def test_every_setting_is_in_the_file_if_only_as_a_comment(path: str) -> None:
    every_name = [name for names in USED_TOGETHER.values() for name in names]

    assert has(tomllib.loads(without_comment_signs(every_name)), path)


@pytest.mark.parametrize("names", USED_TOGETHER.values(), ids=USED_TOGETHER)
def test_an_optional_setting_works_once_its_comment_signs_are_removed(names: list[str], tmp_path: Path) -> None:
    edited = tmp_path / "builders.toml"
    text = without_comment_signs(names)
    # A warm pool is refused beside the types with NVMe that the file has by default.
    text = text.replace("d.2xlarge", ".2xlarge") if "min_size" in names else text
    # Runners that are pods build on pods.
    edited.write_text(
        text.replace('compute = "ec2"', 'compute = "eks"', 1) if "[runner_scale_sets.default]" in names else text
    )

    assert load_config(edited) != load_config(SHIPPED)


def test_every_optional_setting_is_tried() -> None:
    commented_out = {match["name"] for line in LINES if (match := COMMENTED_OUT.fullmatch(line))}

    assert commented_out == {name for names in USED_TOGETHER.values() for name in names}


def test_every_setting_has_a_comment_above_it() -> None:
    for above, line in pairwise(LINES):
        if SETTING.fullmatch(line):
            assert above.startswith("# "), line
            assert not COMMENTED_OUT.fullmatch(above), line


def test_the_comment_tells_the_margin_that_is_enforced() -> None:
    margin = expiration_margin_days(timedelta(hours=1))

    assert f"a margin, {margin} days with builds of up to an hour" in SHIPPED.read_text()


def test_the_constructs_have_the_same_defaults() -> None:
    fleet, volume, cache = settings(FleetConfig), VolumeConfig(), CacheConfig()

    assert BuildKitRelease() == BuildKitRelease(
        version=BuildkitConfig().version, url=BuildkitConfig().url, sha256=BuildkitConfig().sha256
    )
    assert CacheExpiration() == CacheExpiration(
        blob_days=cache.blob_expiration_days,
        manifest_days=cache.manifest_expiration_days,
        longest_build=fleet["longest_build"],
    )
    assert (BuilderCapacity().min_capacity, BuilderCapacity().max_capacity, BuilderCapacity().spot) == (
        fleet["min_capacity"],
        fleet["max_capacity"],
        fleet["spot"],
    )
    scaling = ScalingConfig()
    assert BuilderScaling() == BuilderScaling(
        target_builds_per_builder=scaling.target_builds_per_builder,
        max_builds=scaling.max_builds,
        idle_timeout=timedelta(minutes=scaling.idle_timeout_minutes),
        max_parallelism=scaling.max_parallelism,
        on_demand_base_capacity=scaling.on_demand_base_capacity,
        on_demand_percentage=scaling.on_demand_percentage,
    )
    for architecture, instance_types in fleet["instance_types"].items():
        assert BuilderCapacity().instance_types_for(architecture) == instance_types
    assert StoreVolume().size.to_gibibytes() == Size.gibibytes(volume.size_gib).to_gibibytes()
    assert (StoreVolume().iops, StoreVolume().throughput) == (volume.iops, volume.throughput)


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("runners", RunnerConfig),
        ("runner_scale_sets", RunnerScaleSetConfig),
        ("github_actions", GithubActionsConfig),
    ],
)
def test_the_shown_settings_of_what_is_not_there_by_default_show_their_defaults(section: str, kind: type) -> None:
    names = [name for names in USED_TOGETHER.values() for name in names]
    shown = tomllib.loads(without_comment_signs(names))[section]["default"]
    defaults = {field.name: field.default for field in fields(kind) if type(field.default) in (bool, int, str)}

    assert defaults
    assert {name: shown[name] for name in defaults} == defaults
