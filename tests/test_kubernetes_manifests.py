"""Every manifest, in its file and in templates, is what Kubernetes takes: no unknown field, no floating image."""

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS
from tests.kubernetes_schemas import ALIASES, UNCHECKED, Schemas, dictionaries
from tests.kubernetes_templates import images, manifest_files, template_manifests

FILES = manifest_files()

MAPS = {
    "annotations",
    "data",
    "hard",
    "labels",
    "limits",
    "matchLabels",
    "metadata",  # of a trigger: whatever its scaler takes
    "nodeSelector",
    "parameters",
    "requests",
    "selector",
    "tags",
}
"""What holds names that are the user's own."""


EXAMPLES = ("eks", "eks-buildx-driver", "eks-existing-cluster", "eks-runners")


@pytest.fixture(scope="module", params=EXAMPLES)
def applied(
    request: pytest.FixtureRequest, synthesize: Callable[[Path], Mapping[str, Template]], root: Path
) -> list[dict[str, Any]]:
    """Return every object that the stacks of an example apply."""
    templates = synthesize(root / "examples" / f"{request.param}.toml")
    return [manifest for each in templates.values() for manifest in template_manifests(each.to_json())]


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas()


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("file", FILES)
def test_every_file_is_valid_as_it_stands_in_every_version(schemas: Schemas, file: str, version: str) -> None:
    assert schemas.problems(FILES[file], version) == []


@pytest.mark.parametrize("file", FILES)
def test_an_unknown_field_is_refused_wherever_it_is(schemas: Schemas, file: str) -> None:
    accepted = []
    for path, _ in dictionaries(FILES[file]):
        manifest = copy.deepcopy(FILES[file])
        at: Any = manifest
        for key in path:
            at = at[key]
        at["unknownField"] = "1"
        if not schemas.problems(manifest, KUBERNETES_VERSIONS[0]):
            accepted.append(path)

    unchecked = (FILES[file]["apiVersion"], FILES[file]["kind"]) in UNCHECKED
    assert [path for path in accepted if path[-1:] and path[-1] not in MAPS and not unchecked] == []
    assert unchecked or () not in accepted
    assert ("metadata",) not in accepted


def test_what_no_definition_is_published_of_is_this() -> None:
    unchecked = {(each["apiVersion"], each["kind"]) for each in FILES.values()} & set(UNCHECKED)

    assert unchecked == set(UNCHECKED) == {("eks.amazonaws.com/v1", "NodeClass")}


def test_what_is_checked_against_the_definition_of_another_is_this(schemas: Schemas) -> None:
    assert set(ALIASES) == {("eks.amazonaws.com/v1", "TargetGroupBinding")}
    assert set(ALIASES.values()) <= set(schemas.custom)


def test_a_kind_that_nobody_defines_is_a_problem(schemas: Schemas) -> None:
    manifest = {"apiVersion": "example.com/v1", "kind": "Builder", "metadata": {"name": "a"}}

    (problem,) = schemas.problems(manifest, "1.34")

    assert problem.startswith("Couldn't find schema for kind Builder with api version example.com/v1")


def test_a_wrong_value_is_a_problem_with_its_place(schemas: Schemas) -> None:
    stateful_set = copy.deepcopy(FILES["stateful-set"])
    stateful_set["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = "yes"
    scaled_object = copy.deepcopy(FILES["scaled-object"])
    scaled_object["spec"]["maxReplicaCount"] = "8"

    assert schemas.problems(stateful_set, "1.34") == [
        "spec/template/spec/containers/0/securityContext/privileged: 'yes' is not of type 'boolean', 'null'"
    ]
    assert schemas.problems(scaled_object, "1.34") == ["spec/maxReplicaCount: '8' is not of type 'integer'"]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_of_an_example_is_valid_in_every_version(
    schemas: Schemas, applied: list[dict[str, Any]], version: str
) -> None:
    problems = [(each["kind"], problem) for each in applied for problem in schemas.problems(each, version)]

    assert {"StatefulSet", "ScaledObject", "NetworkPolicy"} <= {each["kind"] for each in applied}
    assert problems == []


def test_every_image_of_an_example_is_pinned_by_its_digest(applied: list[dict[str, Any]]) -> None:
    found = [image for each in applied for image in images(each)]

    assert found
    assert [image for image in found if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []


@pytest.mark.parametrize("file", FILES)
def test_every_image_is_pinned_by_its_digest(file: str) -> None:
    assert [image for image in images(FILES[file]) if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []
    assert bool(images(FILES[file])) == (file == "stateful-set")
