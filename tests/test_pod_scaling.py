"""How pods follow their builds, as a template: what KEDA is told, what it may read, and who wakes a fleet."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from cdk_buildkit import Architecture, BuilderCapacity, BuilderScaling, CapacitySchedule
from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS, BuilderCluster
from cdk_buildkit.existing_cluster import ExistingCluster
from cdk_buildkit.keda_operator import KedaOperator
from cdk_buildkit.keda_release import KedaRelease
from cdk_buildkit.pod_scaling import PodScaling
from cdk_buildkit.pod_waker import PodWaker
from local.go_modules import KEDA
from tests.kubernetes_schemas import Schemas
from tests.kubernetes_templates import template_manifests

ARM64, X86_64 = Architecture.ARM64, Architecture.X86_64
FLEET = "main.buildkit.internal"

MakeCluster = Callable[[], BuilderCluster]


@pytest.fixture(scope="module")
def make_cluster(make_app: Callable[[], cdk.App]) -> MakeCluster:
    """Name an existing cluster in a stack of its own."""

    def make_cluster() -> BuilderCluster:
        stack = cdk.Stack(make_app(), "builders")
        vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
        return BuilderCluster(
            stack, "Cluster", vpc=vpc, existing=ExistingCluster(name="shared", security_group_id="sg-1")
        )

    return make_cluster


@pytest.fixture(scope="module")
def scaled(make_cluster: MakeCluster) -> Callable[..., list[dict[str, Any]]]:
    """Return the objects that scale a StatefulSet."""

    def scaled(capacity: BuilderCapacity | None = None, **scaling: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - parameters
        cluster = make_cluster()
        stack = cdk.Stack.of(cluster)
        PodScaling(
            stack,
            "Scaling",
            cluster=cluster,
            namespace="buildkit-main",
            stateful_set="builder-arm64",
            capacity=capacity or BuilderCapacity(min_capacity=0, max_capacity=5),
            scaling=BuilderScaling(**scaling),
            fleet=FLEET,
            architecture=ARM64,
        )
        return template_manifests(Template.from_stack(stack).to_json())

    return scaled


@pytest.fixture(scope="module")
def scaled_object(scaled: Callable[..., list[dict[str, Any]]]) -> Mapping[str, Any]:
    (found,) = [each for each in scaled(idle_timeout=timedelta(minutes=20)) if each["kind"] == "ScaledObject"]
    return found


@pytest.fixture(scope="module")
def keda(make_cluster: MakeCluster) -> Template:
    cluster = make_cluster()
    KedaOperator(cdk.Stack.of(cluster), "Keda", cluster=cluster)
    return Template.from_stack(cdk.Stack.of(cluster))


def chart(template: Template) -> Mapping[str, Any]:
    (found,) = template.find_resources("Custom::AWSCDK-EKS-HelmChart").values()
    properties: Mapping[str, Any] = found["Properties"]
    return properties


def _values(template: Template) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(chart(template)["Values"])
    return found


# What KEDA is told


def test_what_scales_is_valid_in_every_version(scaled: Callable[..., list[dict[str, Any]]]) -> None:
    schemas, objects = Schemas(), scaled()

    assert [each["kind"] for each in objects] == ["TriggerAuthentication", "ScaledObject"]
    for each in objects:
        assert [schemas.problems(each, version) for version in KUBERNETES_VERSIONS] == [[], [], []]
        assert each["metadata"]["namespace"] == "buildkit-main"


def test_the_stateful_set_follows_from_its_least_to_its_most_builders(scaled_object: Mapping[str, Any]) -> None:
    spec = scaled_object["spec"]

    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "builder-arm64"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 5)


def test_builders_come_at_once_and_go_one_by_one_when_they_were_idle_for_long(
    scaled_object: Mapping[str, Any],
) -> None:
    behavior = scaled_object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]

    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 5, "periodSeconds": 15}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == scaled_object["spec"]["cooldownPeriod"] == 1200
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_one_builder_is_for_as_many_builds_running_or_waiting(scaled: Callable[..., list[dict[str, Any]]]) -> None:
    (found,) = [each for each in scaled(target_builds_per_builder=2.5) if each["kind"] == "ScaledObject"]
    targets = {each["name"]: float(each["metadata"]["targetMetricValue"]) for each in found["spec"]["triggers"]}

    # Half a minute has each running build three times.
    assert targets == {"in-flight-builds": 7.5, "waiting-jobs": 2.5}


def test_the_triggers_read_the_metrics_of_this_fleet_and_architecture(scaled_object: Mapping[str, Any]) -> None:
    read = [
        (each["metadata"]["namespace"], each["metadata"]["metricName"], each["metadata"]["dimensionValue"])
        for each in scaled_object["spec"]["triggers"]
    ]

    assert read == [
        ("CdkBuildkit", "InFlightBuilds", f"{FLEET};arm64"),
        ("CdkBuildkit", "WaitingJobs", f"{FLEET};arm64"),
    ]


def test_the_triggers_authenticate_as_kedas_operator(scaled: Callable[..., list[dict[str, Any]]]) -> None:
    authentication, scaled_object = scaled()

    assert authentication["spec"] == {"podIdentity": {"provider": "aws"}}
    assert {each["authenticationRef"]["name"] for each in scaled_object["spec"]["triggers"]} == {
        authentication["metadata"]["name"]
    }


# What pods cannot have


def test_an_idle_timeout_longer_than_an_autoscaler_remembers_is_refused(
    scaled: Callable[..., list[dict[str, Any]]],
) -> None:
    with pytest.raises(ValueError, match=r"idle_timeout of builders on Kubernetes is at most 1:00:00.*got 1:00:01"):
        scaled(idle_timeout=timedelta(hours=1, seconds=1))


def test_schedules_are_refused(scaled: Callable[..., list[dict[str, Any]]]) -> None:
    with pytest.raises(ValueError, match="builders on Kubernetes have none of; got 1: leave them out, and raise"):
        scaled(schedules=[CapacitySchedule(cron="0 8 * * *", min_capacity=1)])


# KEDA itself


def test_keda_is_its_chart_of_the_version_whose_scaler_is_tested(keda: Template) -> None:
    properties = chart(keda)

    assert (properties["Chart"], properties["Version"], properties["Namespace"]) == ("keda", "2.20.2", "keda")
    assert properties["Repository"] == "https://kedacore.github.io/charts"
    assert f"v{properties['Version']}" == KEDA.version


def test_kedas_operator_reads_metrics_and_nothing_else(keda: Template, readable: Callable[[Any], Any]) -> None:
    (role,) = [
        logical_id
        for logical_id, each in keda.find_resources("AWS::IAM::Role").items()
        if each["Properties"].get("Description", "").startswith("KEDA")
    ]
    policies = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in keda.find_resources("AWS::IAM::Policy").values()
        if each["Properties"]["Roles"] == [{"Ref": role}]
    ]

    assert policies == [[{"Action": "cloudwatch:GetMetricData", "Effect": "Allow", "Resource": "*"}]]
    properties = keda.find_resources("AWS::IAM::Role")[role]["Properties"]
    assert "ManagedPolicyArns" not in properties
    (trust,) = readable(properties["AssumeRolePolicyDocument"])["Statement"]
    assert trust["Condition"]["StringEquals"]["aws:RequestTag/kubernetes-namespace"] == "keda"
    assert trust["Condition"]["StringEquals"]["aws:RequestTag/kubernetes-service-account"] == "keda-operator"


def test_kedas_pods_are_made_when_their_identity_is_there(keda: Template) -> None:
    (association,) = keda.find_resources("AWS::EKS::PodIdentityAssociation")
    (installed,) = keda.find_resources("Custom::AWSCDK-EKS-HelmChart").values()

    assert association in installed["DependsOn"]


def test_keda_gets_no_more_rights_in_the_cluster_than_it_needs(keda: Template) -> None:
    told = _values(keda)

    assert told["rbac"] == {"enabledCustomScaledRefKinds": False}
    assert told["permissions"] == {
        "operator": {"restrict": {"secret": True}},
        "metricServer": {"restrict": {"secret": True}},
    }
    assert told["webhooks"] == {"enabled": False}


def test_chart_and_images_come_from_a_mirror_and_by_digest_where_these_are_given(make_cluster: MakeCluster) -> None:
    cluster, digest = make_cluster(), f"sha256:{'2' * 64}"
    release = KedaRelease(
        version="2.19.0",
        chart_repository="oci://mirror.example/charts/keda",
        image_registry="mirror.example",
        operator_digest=digest,
    )

    KedaOperator(cdk.Stack.of(cluster), "Keda", cluster=cluster, release=release)

    template = Template.from_stack(cdk.Stack.of(cluster))
    assert (chart(template)["Repository"], chart(template)["Version"]) == ("oci://mirror.example/charts/keda", "2.19.0")
    told = _values(template)
    assert told["global"] == {"image": {"registry": "mirror.example"}}
    assert told["image"]["keda"] == {"tag": f"2.19.0@{digest}"}
    assert told["image"]["metricsApiServer"] == {"tag": "2.19.0"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "latest"}, "keda.version is a whole version, such as 2.20.2; got 'latest': name one"),
        ({"version": "2.20"}, "got '2.20'"),
        ({"chart_repository": "mirror.example/charts"}, "begins with https:// or oci://; got 'mirror.example/charts'"),
        ({"operator_digest": "2.20.2"}, "keda.operator_digest is sha256:<64 hexadecimal digits>; got '2.20.2': take"),
        ({"metrics_server_digest": "sha256:1"}, "keda.metrics_server_digest is sha256:"),
    ],
)
def test_a_release_that_is_not_pinned_or_cannot_be_reached_is_refused(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KedaRelease(**changes)


# In a deployment


@pytest.fixture(scope="module")
def deployment(synthesize: Callable[[Path], dict[str, Template]], root: Path) -> Mapping[str, Template]:
    return synthesize(root / "examples" / "eks-buildx-driver.toml")


def test_keda_is_installed_once_with_the_cluster_and_from_where_the_file_says(
    deployment: Mapping[str, Template],
) -> None:
    charts = {
        name: [
            each["Properties"]["Repository"]
            for each in template.find_resources("Custom::AWSCDK-EKS-HelmChart").values()
        ]
        for name, template in deployment.items()
    }

    assert charts.pop("buildkit-cluster") == ["oci://registry.example.com/charts/keda"]
    assert not any(charts.values())


def test_a_cluster_that_has_keda_gets_no_other(
    synthesize: Callable[[Path], dict[str, Template]], root: Path, tmp_path: Path
) -> None:
    text = (root / "examples" / "eks.toml").read_text()
    (tmp_path / "builders.toml").write_text(f"{text}\n[kubernetes.keda]\ninstall = false\n")

    template = synthesize(tmp_path / "builders.toml")["buildkit-cluster"]

    template.resource_count_is("Custom::AWSCDK-EKS-HelmChart", 0)


def test_applying_a_stateful_set_again_does_not_change_how_many_builders_there_are(
    deployment: Mapping[str, Template],
) -> None:
    objects = template_manifests(deployment["buildkit-builders-main"].to_json())

    stateful_sets = [each for each in objects if each["kind"] == "StatefulSet"]
    (scaled_object,) = [each for each in objects if each["kind"] == "ScaledObject"]
    assert ["replicas" in each["spec"] for each in stateful_sets] == [False]
    assert scaled_object["spec"]["scaleTargetRef"]["name"] == stateful_sets[0]["metadata"]["name"]
    assert scaled_object["spec"]["minReplicaCount"] == 0


def test_pods_publish_what_keda_reads(deployment: Mapping[str, Template]) -> None:
    objects = template_manifests(deployment["buildkit-builders-main"].to_json())
    (pod,) = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "StatefulSet"]
    (agent,) = [each for each in pod["initContainers"] if each["name"] == "agent"]
    environment = {each["name"]: each["value"] for each in agent["env"]}
    (read,) = [
        each["metadata"]
        for scaled in objects
        if scaled["kind"] == "ScaledObject"
        for each in scaled["spec"]["triggers"]
        if each["name"] == "in-flight-builds"
    ]

    assert read["namespace"] == environment["METRIC_NAMESPACE"]
    assert read["dimensionValue"] == f"{environment['FLEET']};{environment['ARCHITECTURE']}"
    assert float(read["metricStatPeriod"]) / float(environment["PUBLISH_SECONDS"]) == 3


# Waking


def test_the_waker_puts_metrics_in_one_namespace_and_reads_them(
    make_cluster: MakeCluster, readable: Callable[[Any], Any]
) -> None:
    stack = cdk.Stack.of(make_cluster())
    capacities = {ARM64: BuilderCapacity(max_capacity=5), X86_64: BuilderCapacity(max_capacity=2)}
    waker = PodWaker(stack, "Waker", fleet=FLEET, capacities=capacities, scaling=BuilderScaling())
    runner = iam.Role(stack, "Runner", assumed_by=iam.AccountRootPrincipal())

    waker.grant_wake(runner)

    template = Template.from_stack(stack)
    (variables,) = [
        each["Properties"]["Environment"]["Variables"]
        for each in template.find_resources("AWS::Lambda::Function").values()
        if "wakes" in each["Properties"].get("Description", "").lower()
    ]
    del variables["LOG_GROUP"]
    assert variables == {
        "FLEET": FLEET,
        "METRIC_NAMESPACE": "CdkBuildkit",
        "IN_FLIGHT_METRIC": "InFlightBuilds",
        "WAITING_METRIC": "WaitingJobs",
        "PUBLISH_SECONDS": "10",
        "BUILDS_PER_BUILDER": "3.0",
        "MAX_CAPACITIES": '{"arm64":5,"x86_64":2}',
    }
    statements = [
        (statement["Action"], statement["Resource"], statement.get("Condition"))
        for each in template.find_resources("AWS::IAM::Policy").values()
        for statement in readable(each["Properties"]["PolicyDocument"])["Statement"]
    ]
    assert (
        "cloudwatch:PutMetricData",
        "*",
        {"StringEquals": {"cloudwatch:namespace": "CdkBuildkit"}},
    ) in statements
    assert ("cloudwatch:GetMetricData", "*", None) in statements
    (called,) = [
        readable(each["Properties"]["PolicyDocument"])["Statement"]
        for each in template.find_resources("AWS::IAM::Policy").values()
        if readable(each["Properties"]["Roles"]) == ["<Runner>"]
    ]
    assert [each["Action"] for each in called] == ["lambda:InvokeFunction"]
