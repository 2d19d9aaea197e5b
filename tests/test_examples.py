"""Every example synthesizes, without a warning or a finding, and independent eyes accept its templates."""

import importlib.util
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks

from app import define_stacks
from stacks.config import load_config

EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIGURATIONS = sorted(EXAMPLES.glob("*.toml"))
PROGRAMS = sorted(EXAMPLES.glob("import_*.py"))

BUILDERS = {
    "eks": {"buildkit-builders-main": 2, "buildkit-builders-pull-requests": 2},
    "eks-buildx-driver": {"buildkit-builders-main": 1},
    "eks-existing-cluster": {"buildkit-builders-main": 1},
    "eks-runners": {"buildkit-builders-main": 2, "buildkit-builders-pull-requests": 2},
    "existing-bucket-and-kms": {"buildkit-builders-main": 2},
    "existing-vpc": {"buildkit-builders-main": 2},
    "github-actions": {"buildkit-builders-main": 2, "buildkit-builders-pull-requests": 4},
    "office-hours": {"buildkit-builders-main": 1, "buildkit-builders-pull-requests": 2},
    "one-architecture": {"buildkit-builders-main": 1},
    "runners": {"buildkit-builders-main": 2, "buildkit-builders-pull-requests": 4},
    "spot": {"buildkit-builders-main": 4, "buildkit-builders-pull-requests": 4},
}
"""Groups of builders in each stack of each example: Auto Scaling groups, two beside spot, or StatefulSets."""


@pytest.fixture(scope="session")
def examples(make_app: Callable[[], cdk.App]) -> dict[str, cdk.App]:
    """All examples, synthesized, by name."""
    apps = {}
    for path in CONFIGURATIONS:
        apps[path.stem] = make_app()
        define_stacks(apps[path.stem], load_config(path))
    for path in PROGRAMS:
        apps[path.stem] = make_app()
        imported(path).define_stacks(apps[path.stem])
    for app in apps.values():
        app.synth()
    return apps


def imported(path: Path) -> ModuleType:
    """Load an example as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_listed_here() -> None:
    assert {path.stem for path in CONFIGURATIONS} == set(BUILDERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_an_example_has_its_builders(examples: dict[str, cdk.App], name: str) -> None:
    groups = Counter(
        stack.stack_name
        for stack in examples[name].synth().stacks
        for resource in stack.template.get("Resources", {}).values()
        if is_group(resource)
    )

    assert groups == BUILDERS[name]


def is_group(resource: Mapping[str, Any]) -> bool:
    """Tell whether a template's resource is of builders of one architecture."""
    properties = resource.get("Properties", {})
    return "TargetGroupARNs" in properties or '\\"podManagementPolicy\\"' in json.dumps(properties.get("Manifest", ""))


@pytest.mark.parametrize("name", [*BUILDERS, *(path.stem for path in PROGRAMS)])
def test_an_example_synthesizes_without_a_warning_or_a_lookup(examples: dict[str, cdk.App], name: str) -> None:
    output = Path(examples[name].outdir)
    metadata = [json.loads(path.read_text()) for path in output.glob("*.metadata.json")]

    entries = [entry for each in metadata for construct in each.values() for entry in construct]
    assert [entry["data"] for entry in entries if entry["type"] in ("aws:cdk:warning", "aws:cdk:error")] == []
    assert any(entry["type"] == "aws:cdk:logicalId" for entry in entries)
    assert "missing" not in json.loads((output / "manifest.json").read_text())


def test_an_example_that_imports_the_constructs_has_no_unanswered_finding(make_app: Callable[[], cdk.App]) -> None:
    for path in PROGRAMS:
        app = make_app()
        imported(path).define_stacks(app)
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))

        app.synth()

        report = json.loads((Path(app.outdir) / "validation-report.json").read_text())
        assert [each["violations"] for each in report["pluginReports"] if each["violations"]] == []


def test_a_team_pushes_from_its_builders_without_logging_in(examples: dict[str, cdk.App]) -> None:
    template = Template.from_json(examples["import_constructs"].synth().get_stack_by_name("builds").template)

    (policy,) = (
        each for name, each in template.find_resources("AWS::IAM::Policy").items() if name.startswith("BuildersRole")
    )
    assert "ecr:PutImage" in str(policy["Properties"]["PolicyDocument"])


def test_pull_requests_may_read_main_in_the_spot_example_and_main_reads_nothing_of_theirs(
    examples: dict[str, cdk.App],
) -> None:
    assembly = examples["spot"].synth()
    policies = {
        fleet: str(Template.from_json(stack.template).find_resources("AWS::IAM::Policy"))
        for fleet in ("main", "pull-requests")
        for stack in [assembly.get_stack_by_name(f"buildkit-builders-{fleet}")]
    }

    assert "/main/*" in policies["pull-requests"]
    assert "/pull-requests/*" not in policies["main"]


def test_cfn_lint_accepts_every_template_of_every_example(examples: dict[str, cdk.App]) -> None:
    templates = [
        path
        for app in examples.values()
        for path in sorted(Path(app.outdir).glob("*.template.json"))
        if "Resources" in json.loads(path.read_text())  # a network that is given has none
    ]

    result = subprocess.run(["cfn-lint", *templates], check=False, capture_output=True, text=True)

    assert (result.returncode, result.stdout) == (0, "")
