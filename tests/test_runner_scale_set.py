"""GitHub runners that are pods reach their builders, and nothing of the cache; a job in one is nobody."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from app import define_stacks
from cdk_buildkit import EksBuilderFleet, RunnerController, RunnerControllerRelease, RunnerScaleSet
from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS
from cdk_buildkit.kubernetes_manifest import MANIFESTS
from stacks.config import load_config
from stacks.eks_builders import EksBuildersStack
from tests.eks_templates import applied
from tests.kubernetes_schemas import Schemas

EXAMPLE = Path(__file__).parent.parent / "examples" / "eks-runners.toml"
STACK = "buildkit-runner-scale-set-main"
HELM_CHART = "Custom::AWSCDK-EKS-HelmChart"
URL = "https://github.com/example"
IMAGE = f"example@sha256:{'a' * 64}"


@pytest.fixture(scope="module")
def app(make_app: Callable[[], cdk.App]) -> cdk.App:
    app = make_app()
    define_stacks(app, load_config(EXAMPLE))
    app.synth()
    return app


@pytest.fixture(scope="module")
def templates(app: cdk.App) -> Mapping[str, Template]:
    return {stack.stack_name: Template.from_json(stack.template) for stack in app.synth().stacks}


@pytest.fixture(scope="module")
def values(templates: Mapping[str, Template], readable: Callable[[Any], Any]) -> dict[str, Any]:
    """What the scale set's chart is told."""
    (chart,) = templates[STACK].find_resources(HELM_CHART).values()
    told: dict[str, Any] = json.loads(readable(chart["Properties"]["Values"]))
    return told


@pytest.fixture
def builders(app: cdk.App) -> EksBuilderFleet:
    stack = app.node.find_child("buildkit-builders-main")
    assert isinstance(stack, EksBuildersStack)
    return stack.fleet


def statements(template: Template) -> Iterator[dict[str, Any]]:
    for policy in template.find_resources("AWS::IAM::Policy").values():
        yield from policy["Properties"]["PolicyDocument"]["Statement"]


def test_the_runners_role_may_connect_wake_and_push_and_has_nothing_of_the_cache(
    templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    granted = {
        action: readable(each["Resource"])
        for each in statements(templates[STACK])
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }

    assert {each.partition(":")[0] for each in granted} == {"cloudformation", "ecr", "lambda", "secretsmanager"}
    assert granted["secretsmanager:GetSecretValue"] == "<CertificatesClient>"
    assert "stack/buildkit-builders-main/*" in granted["cloudformation:DescribeStacks"]
    assert granted["ecr:PutImage"] == "arn:<AWS::Partition>:ecr:eu-west-1:111122223333:repository/app"
    assert "CacheBucket" not in json.dumps(templates[STACK].to_json())


def test_pods_of_the_runners_service_account_alone_have_the_role(
    templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    ((trusted,),) = [
        each["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        for each in templates[STACK].find_resources("AWS::IAM::Role").values()
    ]
    (identity,) = templates[STACK].find_resources("AWS::EKS::PodIdentityAssociation").values()

    assert trusted["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    conditions = readable(trusted["Condition"]["StringEquals"])
    assert conditions["aws:RequestTag/kubernetes-namespace"] == "runners-main"
    assert conditions["aws:RequestTag/kubernetes-service-account"] == "runner"
    assert (identity["Properties"]["Namespace"], identity["Properties"]["ServiceAccount"]) == ("runners-main", "runner")


def test_a_job_finds_its_builders_by_the_services_of_the_cluster(values: Mapping[str, Any]) -> None:
    (container,) = values["template"]["spec"]["containers"]

    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment == {
        "CDK_BUILDKIT_STACK": "buildkit-builders-main",
        "CDK_BUILDKIT_REGION": "<AWS::Region>",
        "CDK_BUILDKIT_ARCHITECTURES": "",
        "CDK_BUILDKIT_TIMEOUT": "10",
        "CDK_BUILDKIT_IN_CLUSTER": "1",
    }


@pytest.mark.parametrize(("in_cluster", "option"), [("1", ["--in-cluster"]), ("", [])])
def test_the_hook_asks_for_the_services_where_it_is_told_to(
    in_cluster: str, option: list[str], root: Path, tmp_path: Path
) -> None:
    tool = tmp_path / "cdk-buildkit"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.defpath}",
        "CDK_BUILDKIT_STACK": "builders",
        "CDK_BUILDKIT_IN_CLUSTER": in_cluster,
    }
    hook = root / "constructs" / "cdk_buildkit" / "runner" / "job-started.sh"

    said = subprocess.run(["bash", hook], env=environment, check=True, capture_output=True, text=True).stdout

    assert said.split() == ["github-job", "builders", "--timeout", "10", *option]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_the_runners_pod_is_valid_in_every_version(values: Mapping[str, Any], version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runner"}, "spec": values["template"]["spec"]}

    assert Schemas().problems(pod, version) == []


def test_a_job_is_nobody_on_its_node_and_in_the_cluster(
    values: Mapping[str, Any], templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    # What the namespace demands: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    specification = values["template"]["spec"]
    (container,) = specification["containers"]
    objects = applied(templates[STACK], readable)

    assert objects["Namespace/runners-main"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert specification["securityContext"]["runAsNonRoot"] is True
    assert specification["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert specification["automountServiceAccountToken"] is False
    assert "volumes" not in specification
    network = objects["NetworkPolicy/runners"]["spec"]
    assert set(network["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in network
    assert network["egress"][0]["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_the_builders_admit_the_namespace_of_their_own_runners_and_no_others(
    templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    for fleet in ("main", "pull-requests"):
        (rule,) = applied(templates[f"buildkit-builders-{fleet}"], readable)["NetworkPolicy/builders"]["spec"][
            "ingress"
        ]
        (names,) = rule["from"][0]["namespaceSelector"]["matchExpressions"]
        assert names["values"] == [f"runners-{fleet}"]


def test_one_controller_manages_every_scale_set(
    templates: Mapping[str, Template], values: Mapping[str, Any], readable: Callable[[Any], Any]
) -> None:
    charts = [
        each["Properties"]
        for each in templates["buildkit-cluster"].find_resources(HELM_CHART).values()
        if each["Properties"]["Chart"] == "gha-runner-scale-set-controller"
    ]
    (scale_set,) = templates[STACK].find_resources(HELM_CHART).values()

    (controller,) = charts
    told = json.loads(readable(controller["Values"]))
    assert values["controllerServiceAccount"] == {
        "namespace": controller["Namespace"],
        "name": told["serviceAccount"]["name"],
    }
    assert scale_set["Properties"]["Version"] == controller["Version"] == RunnerControllerRelease().version
    for chart in (controller, scale_set["Properties"]):
        assert chart["Repository"] == f"oci://ghcr.io/actions/actions-runner-controller-charts/{chart['Chart']}"


def test_a_cluster_that_has_the_controller_gets_no_other(make_app: Callable[[], cdk.App], tmp_path: Path) -> None:
    edited = tmp_path / "builders.toml"
    edited.write_text(
        EXAMPLE.read_text()
        + '[kubernetes.runner_controller]\ninstall = false\nversion = "0.12.1"\nchart_registry = "oci://mirror.internal"\n'
    )
    app = make_app()
    define_stacks(app, load_config(edited))
    templates = {stack.stack_name: Template.from_json(stack.template) for stack in app.synth().stacks}

    charts = [each["Properties"] for each in templates["buildkit-cluster"].find_resources(HELM_CHART).values()]
    (scale_set,) = templates[STACK].find_resources(HELM_CHART).values()
    assert [each["Chart"] for each in charts] == ["keda"]
    assert scale_set["Properties"]["Version"] == "0.12.1"
    assert scale_set["Properties"]["Repository"] == "oci://mirror.internal/gha-runner-scale-set"


def test_the_stack_says_what_a_job_asks_for_and_how_github_lets_the_runners_in(
    templates: Mapping[str, Template],
) -> None:
    outputs = templates[STACK].to_json()["Outputs"]

    assert outputs["RunsOn"]["Value"] == "main"
    assert outputs["SecretCommand"]["Value"].startswith(
        "kubectl create secret generic github --namespace runners-main --from-literal=github_app_id="
    )


def test_the_values_in_the_file_are_those_of_one_runner(values: Mapping[str, Any]) -> None:
    assert values["githubConfigUrl"] == URL
    assert values["githubConfigSecret"] == "github"
    assert (values["runnerScaleSetName"], values["runnerGroup"]) == ("main", "protected")
    assert (values["minRunners"], values["maxRunners"]) == (0, 10)
    assert (MANIFESTS / "runner-scale-set-values.yaml").read_text().startswith("# ")


def test_runners_without_a_group_are_warned_of_where_another_fleet_reads_what_they_build(
    make_app: Callable[[], cdk.App], tmp_path: Path
) -> None:
    edited = tmp_path / "builders.toml"
    edited.write_text(EXAMPLE.read_text().replace('runner_group = "protected"\n', ""))
    app = make_app()
    define_stacks(app, load_config(edited))
    app.synth()
    metadata = json.loads((Path(app.outdir) / f"{STACK}.metadata.json").read_text())

    (warning,) = [
        entry["data"] for entries in metadata.values() for entry in entries if entry["type"] == "aws:cdk:warning"
    ]
    assert "`runs-on: main`" in warning
    assert "leave layers in its cache scope main" in warning


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"name": "Two Words"}, "lower-case letters, digits and hyphens, no hyphen at an end; got 'Two Words'"),
        ({"github_url": "https://github.com"}, "such as https://github.com/example/app; got 'https://github.com'"),
        ({"image": "example:latest"}, "image is an image pinned by its digest"),
        ({"min_runners": 3, "max_runners": 2}, "got 3 and 2: correct one of them"),
        ({"namespace": "elsewhere"}, r"got client_namespaces \['runners-main'\]: add it"),
    ],
)
def test_what_cannot_work_is_refused(builders: EksBuilderFleet, props: dict[str, Any], words: str) -> None:
    allowed: dict[str, Any] = {"builders": builders, "github_url": URL, "image": IMAGE, "name": "main"}

    with pytest.raises(ValueError, match=words):
        RunnerScaleSet(cdk.Stack(cdk.App()), "Runners", **(allowed | props))


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"version": "latest"}, "a whole version, such as 0.14.2; got 'latest'"),
        ({"chart_registry": "https://charts.example.com"}, "begins with oci://; got 'https://charts.example.com'"),
    ],
)
def test_a_release_of_the_controller_that_is_none_is_refused(props: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunnerControllerRelease(**props)


def test_the_controller_is_nobody(templates: Mapping[str, Template], readable: Callable[[Any], Any]) -> None:
    (chart,) = [
        each["Properties"]
        for each in templates["buildkit-cluster"].find_resources(HELM_CHART).values()
        if each["Properties"]["Namespace"] == RunnerController.namespace
    ]
    told = json.loads(readable(chart["Values"]))

    assert told["podSecurityContext"]["runAsNonRoot"] is True
    assert told["securityContext"]["capabilities"] == {"drop": ["ALL"]}
