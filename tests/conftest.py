"""What the tests share: apps with the flags of cdk.json, and the default deployment, synthesized once."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Before the CDK is loaded: its validator takes half of every synth. One test turns it on.
os.environ["CDK_VALIDATION"] = "false"

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Template

from app import define_stacks
from cdk_buildkit import Architecture, BuilderCapacity, CacheBucket, CacheScope, Ec2BuilderFleet
from stacks.config import load_config

ROOT = Path(__file__).parent.parent

_ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_LOGICAL_ID_HASH = re.compile(r"(?<=.)[0-9A-F]{8}$")
_IMPORT = re.compile(r".+:ExportsOutput(Ref|FnGetAtt)(?P<resource>\w+?)[0-9A-F]{8}(?P<attribute>[A-Za-z]*?)[0-9A-F]{8}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the work tree."""
    return ROOT


@pytest.fixture(scope="session")
def make_app(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], cdk.App]:
    """Make apps with the flags of cdk.json, each with an output directory of its own."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]

    def make_app() -> cdk.App:
        return cdk.App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out")))

    return make_app


@pytest.fixture(scope="session")
def make_fleet(make_app: Callable[[], cdk.App]) -> Callable[..., Ec2BuilderFleet]:
    """Make a fleet in a stack of its own, or in a given one; further props are the construct's."""

    def make_fleet(
        *,
        stack: cdk.Stack | None = None,
        architectures: Sequence[Architecture] = tuple(Architecture),
        capacity: BuilderCapacity | None = None,
        **props: Any,  # noqa: ANN401 - any prop
    ) -> Ec2BuilderFleet:
        stack = stack or cdk.Stack(make_app(), "builders")
        vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
        scopes = [CacheScope("main"), CacheScope("nightly")]
        defaults: dict[str, Any] = {
            "vpc": vpc,
            "zone": route53.PrivateHostedZone(stack, "Zone", vpc=vpc, zone_name="buildkit.internal"),
            "record_name": "main",
            "caches": {each: CacheBucket(stack, f"{each.construct_id}Cache", scopes=scopes) for each in architectures},
            "write": scopes[0],
            "capacities": dict.fromkeys(architectures, capacity) if capacity else None,
            "prove_boot": False,  # it has groups of its own, and tests of its own
        }
        return Ec2BuilderFleet(stack, "Fleet", **(defaults | props))

    return make_fleet


@pytest.fixture(scope="session")
def synthesize(make_app: Callable[[], cdk.App]) -> Callable[[Path], dict[str, Template]]:
    """Synthesize the deployment of a configuration file: its templates by stack name."""

    def synthesize(path: Path) -> dict[str, Template]:
        app = make_app()
        define_stacks(app, load_config(path))
        return {stack.stack_name: Template.from_json(stack.template) for stack in app.synth().stacks}

    return synthesize


@pytest.fixture(scope="session")
def default_templates(synthesize: Callable[[Path], dict[str, Template]]) -> Mapping[str, Template]:
    """Return the templates of builders.toml by stack name."""
    return synthesize(ROOT / "builders.toml")


@pytest.fixture(scope="session")
def readable() -> Callable[[Any], Any]:
    """Write a template's value with plain words where it has functions and hashes.

    `{"Fn::GetAtt": ["RoleCA0A49E1", "Arn"]}` becomes `<Role.Arn>`, whether it is of this stack or imported, and an
    asset's hash `<hash>`.
    """
    return _readable


def _readable(value: Any) -> Any:  # noqa: ANN401, PLR0911 - a part of a template; a return for each function
    match value:
        case {"Fn::Join": [delimiter, parts]}:
            return delimiter.join(map(_readable, parts))
        case {"Fn::Base64": text}:
            return _readable(text)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{_LOGICAL_ID_HASH.sub('', resource)}.{attribute}>"
        case {"Ref": name}:
            return f"<{_LOGICAL_ID_HASH.sub('', name)}>"
        case {"Fn::ImportValue": name}:
            return _IMPORT.sub(lambda match: f"<{'.'.join(filter(None, match.group('resource', 'attribute')))}>", name)
        case {"Fn::Sub": text}:
            return text.replace("${", "<").replace("}", ">")
        case dict():
            return {key: _readable(each) for key, each in value.items()}
        case list():
            return [_readable(each) for each in value]
        case str():
            return _ASSET_HASH.sub("<hash>", value)
    return value
