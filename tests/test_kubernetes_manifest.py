"""Kubernetes objects from files: values go where the file has one, and nowhere else."""

from pathlib import Path

import pytest
import yaml

from cdk_buildkit.kubernetes_manifest import MANIFESTS, KubernetesManifest
from tests.kubernetes_templates import VALUES

FILES = sorted(path.stem for path in MANIFESTS.glob("*.yaml") if path.stem not in VALUES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_one_object_that_says_what_it_is_for(name: str) -> None:
    path = Path(MANIFESTS / f"{name}.yaml")

    (document,) = yaml.safe_load_all(path.read_text())
    assert {"apiVersion", "kind", "metadata"} <= set(document)
    assert path.read_text().startswith("# ")


def test_a_value_is_set_by_its_path() -> None:
    manifest = KubernetesManifest("stateful-set")

    manifest.set("spec/template/spec/containers[buildkitd]/image", "image")
    manifest.set(("spec", "template", "spec", "nodeSelector", "cdk-buildkit/fleet"), "fleet")
    manifest.set("spec/volumeClaimTemplates[store]/spec/storageClassName", "class")

    specification = manifest.document["spec"]["template"]["spec"]
    assert specification["containers"][0]["image"] == "image"
    assert specification["nodeSelector"]["cdk-buildkit/fleet"] == "fleet"
    assert manifest.document["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "class"


def test_an_entry_of_a_list_is_taken_away_by_its_path() -> None:
    manifest = KubernetesManifest("stateful-set")

    manifest.remove("spec/template/spec/volumes[temporary]")

    assert "temporary" not in str(manifest.document["spec"]["template"]["spec"]["volumes"])


@pytest.mark.parametrize("path", ["spec/replcas", "spec/template/spec/containers[other]/image", "spec/replicas/more"])
def test_a_path_that_the_file_has_not_is_refused(path: str) -> None:
    with pytest.raises(KeyError, match=r"stateful-set\.yaml has nothing at .+ is missing: add it there"):
        KubernetesManifest("stateful-set").set(path, 1)


def test_an_environment_variable_that_the_file_has_not_is_refused() -> None:
    with pytest.raises(KeyError, match=r"no variables \['OTHER'\] at spec/template/spec/containers\[buildkitd\]"):
        KubernetesManifest("stateful-set").set_environment("spec/template/spec/containers[buildkitd]", {"OTHER": "1"})
