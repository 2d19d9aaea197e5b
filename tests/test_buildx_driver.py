"""The buildx kubernetes driver: what its group may do, what its builders may be, and the real buildx on both."""

import copy
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cel
import pytest
from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from cdk_buildkit import Architecture, CacheBucket, CacheScope
from cdk_buildkit.builder_cluster import KUBERNETES_VERSIONS, BuilderCluster
from cdk_buildkit.buildx_driver import BUILDKITD_FLAGS, BuildxDriver
from cdk_buildkit.existing_cluster import ExistingCluster
from local.toolchain import Toolchain
from tests.kubernetes_api import Call, KubernetesApi, allows
from tests.kubernetes_schemas import Schemas
from tests.kubernetes_templates import images, template_manifests

IMAGE = f"mirror.example/moby/buildkit@sha256:{'1' * 64}"
NAMESPACE = "team-builders"

MakeDriver = Callable[..., BuildxDriver]


@pytest.fixture(scope="module")
def make_driver(make_app: Callable[[], cdk.App]) -> MakeDriver:
    """Make a driver's namespace in an existing cluster, in a stack of its own."""

    def make_driver(**changes: Any) -> BuildxDriver:  # noqa: ANN401 - any of its arguments
        stack = cdk.Stack(make_app(), "driver")
        vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)
        cluster = BuilderCluster(
            stack, "Cluster", vpc=vpc, existing=ExistingCluster(name="shared", security_group_id="sg-1")
        )
        scope = CacheScope("main")
        caches = {each: CacheBucket(stack, f"{each.construct_id}Cache", scopes=[scope]) for each in Architecture}
        arguments: dict[str, Any] = {
            "cluster": cluster,
            "namespace": NAMESPACE,
            "group": "builders-of-main",
            "nodes": "buildkit-main",
            "caches": caches,
            "image": IMAGE,
            "volume_size": Size.gibibytes(100),
            "storage_class": True,
        }
        driver = BuildxDriver(stack, "Driver", **(arguments | changes))
        for cache in caches.values():
            cache.grant_read_write(scope, driver)
        return driver

    return make_driver


@pytest.fixture(scope="module")
def driver(make_driver: MakeDriver) -> BuildxDriver:
    return make_driver()


@pytest.fixture(scope="module")
def template(driver: BuildxDriver) -> Template:
    return Template.from_stack(cdk.Stack.of(driver))


@pytest.fixture(scope="module")
def objects(template: Template) -> dict[str, dict[str, Any]]:
    """Return the objects that the stack applies, by their kind."""
    return {each["kind"]: each for each in template_manifests(template.to_json())}


@dataclass
class Buildx:
    """The real buildx, with a configuration of its own, before an API server that lets it do what a Role allows."""

    api: KubernetesApi
    program: Path
    home: Path

    def __call__(self, *arguments: str, succeeds: bool = True) -> str:
        completed = subprocess.run(
            [self.program, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "KUBECONFIG": str(self.home / "kubeconfig"),
                "NO_PROXY": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (completed.returncode == 0) == succeeds, completed.stderr
        return completed.stdout + completed.stderr

    def create(self, line: str, *more: str) -> None:
        """Run a line of the stack's, as it stands."""
        words = shlex.split(line)
        assert words[:2] == ["docker", "buildx"]
        self(*words[2:], *more)

    def workloads(self) -> list[dict[str, Any]]:
        return [each for each in self.api.created if each["kind"] in ("Deployment", "StatefulSet")]


@pytest.fixture
def buildx(toolchain: Toolchain, objects: Mapping[str, Any], tmp_path: Path) -> Any:  # noqa: ANN401 - pytest's way
    with KubernetesApi(objects["Role"]) as api:
        api.write_kubeconfig(tmp_path / "kubeconfig")
        yield Buildx(api, toolchain.bin_directory / "buildx", tmp_path)


def lines(driver: BuildxDriver) -> dict[Architecture, str]:
    """Return the lines as a deployment would put them out."""
    stack = cdk.Stack.of(driver)
    return {each: _deployed(stack.resolve(line)) for each, line in driver.create_lines.items()}


def _deployed(value: Any) -> str:  # noqa: ANN401 - a part of a template
    match value:
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter.join(map(_deployed, parts)))
        case {"Ref": "AWS::Region"}:
            return "eu-west-1"
        case {"Ref": name}:
            return f"bucket-{name[:3].lower()}"
        case {"Fn::ImportValue": _}:
            return "bucket"
        case str():
            return value
    raise ValueError(value)


def refusals(policy: Mapping[str, Any], workload: Mapping[str, Any]) -> list[str]:
    """Evaluate an admission policy as an API server does, and return the messages of what it denies."""
    variables: dict[str, Any] = {}
    context = {"object": workload, "variables": variables}
    for each in policy["spec"]["variables"]:
        variables[each["name"]] = cel.evaluate(each["expression"], context)
    return [each["message"] for each in policy["spec"]["validations"] if not cel.evaluate(each["expression"], context)]


# The real buildx


def test_buildx_accepts_the_lines_and_makes_what_they_say(buildx: Buildx, driver: BuildxDriver) -> None:
    for line in lines(driver).values():
        buildx.create(line)
    buildx("inspect", "--bootstrap", NAMESPACE)

    made = {each["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/arch"]: each for each in buildx.workloads()}
    assert sorted(made) == ["amd64", "arm64"]
    workload = made["arm64"]
    assert (workload["kind"], workload["metadata"].get("namespace", NAMESPACE)) == ("StatefulSet", NAMESPACE)
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "100Gi"}
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["serviceAccountName"] == "builder"
    assert pod["nodeSelector"]["cdk-buildkit/fleet"] == "buildkit-main"
    assert pod["tolerations"] == [
        {"key": "cdk-buildkit/fleet", "operator": "Equal", "value": "buildkit-main", "effect": "NoSchedule"}
    ]
    assert container["image"] == IMAGE
    assert container["resources"] == {
        "limits": {"memory": "12Gi"},
        "requests": {"cpu": "7", "memory": "12Gi"},
    }
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "AWS_REGION": "eu-west-1",
        "AWS_BUCKET": "bucket-arm",
    }


def test_buildx_does_not_let_steps_onto_the_pods_network(buildx: Buildx, driver: BuildxDriver) -> None:
    buildx.create(lines(driver)[Architecture.ARM64], "--bootstrap")

    ((container,),) = [each["spec"]["template"]["spec"]["containers"] for each in buildx.workloads()]
    assert container["args"] == ["--allow-insecure-entitlement=device", "--oci-worker-net=bridge"]


def test_buildkitd_takes_these_flags_and_puts_no_step_on_its_own_network(toolchain: Toolchain, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/buildkitd.sock"
    # With a network of its own, where its bridge is in nobody's way.
    command = ["unshare", "--net", str(toolchain.bin_directory / "buildkitd"), f"--addr={address}"]
    daemon = subprocess.Popen(
        [*command, f"--root={tmp_path}/store", *BUILDKITD_FLAGS.split()], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            said = subprocess.run(
                [toolchain.bin_directory / "buildctl", f"--addr={address}", "debug", "workers", "--verbose"],
                capture_output=True,
                text=True,
                check=False,
            )
            if said.returncode == 0 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    finally:
        daemon.terminate()
        daemon.wait()

    assert re.search(r"org.mobyproject.buildkit.worker.network:\s+cni", said.stdout), said.stderr


def test_the_group_may_do_exactly_what_buildx_does(
    buildx: Buildx, make_driver: MakeDriver, driver: BuildxDriver, objects: Mapping[str, Any]
) -> None:
    config = buildx.home / "buildkitd.toml"
    config.write_text("")
    for number, which in enumerate((driver, make_driver(volume_size=None))):
        line = lines(which)[Architecture.ARM64]
        name = f"builder-{number}"
        for _ in range(2):  # the second time its config map is there already
            buildx.create(line, "--name", name, "--node", name, "--buildkitd-config", str(config), "--bootstrap")
            buildx("build", "--builder", name, str(buildx.home), succeeds=False)  # there is nothing to connect to
            buildx("rm", "--keep-daemon", name)
            buildx.api.answer("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{name}")
            buildx.api.answer("DELETE", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}")
        buildx.create(line, "--name", name, "--node", name, "--buildkitd-config", str(config), "--bootstrap")
        buildx("rm", name)

    granted = {
        Call(NAMESPACE, verb, group, resource)
        for rule in objects["Role"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert set(buildx.api.calls) == granted


def test_without_one_of_these_rights_buildx_fails(
    toolchain: Toolchain, objects: Mapping[str, Any], driver: BuildxDriver, tmp_path: Path
) -> None:
    role = copy.deepcopy(objects["Role"])
    role["rules"][0]["verbs"].remove("create")
    with KubernetesApi(role) as api:
        api.write_kubeconfig(tmp_path / "kubeconfig")
        buildx = Buildx(api, toolchain.bin_directory / "buildx", tmp_path)
        words = shlex.split(lines(driver)[Architecture.ARM64])[2:]

        said = buildx(*words, "--bootstrap", succeeds=False)

    assert said.rstrip().endswith('calling Create for "team-builders0": Forbidden')


def test_what_buildx_makes_is_what_kubernetes_takes_and_the_policy_admits(
    buildx: Buildx, driver: BuildxDriver, make_driver: MakeDriver, objects: Mapping[str, Any]
) -> None:
    for which in (driver, make_driver(volume_size=None)):
        buildx.create(lines(which)[Architecture.ARM64], "--name", f"b{len(buildx.workloads())}", "--bootstrap")

    schemas = Schemas()
    for workload in buildx.workloads():
        assert [schemas.problems(workload, version) for version in KUBERNETES_VERSIONS] == [[], [], []]
        assert refusals(objects["ValidatingAdmissionPolicy"], workload) == []
    assert {each["kind"] for each in buildx.workloads()} == {"Deployment", "StatefulSet"}


def test_a_deployments_output_is_a_line_that_buildx_accepts(
    buildx: Buildx, synthesize: Callable[[Path], dict[str, Template]], root: Path, toolchain: Toolchain
) -> None:
    template = synthesize(root / "examples" / "eks-buildx-driver.toml")["buildkit-builders-main"]
    line = _deployed(template.to_json()["Outputs"]["Arm64BuildxCreate"]["Value"])
    (role,) = [each for each in template_manifests(template.to_json()) if each["kind"] == "Role"]

    with KubernetesApi(role) as api:
        api.write_kubeconfig(buildx.home / "kubeconfig")
        allowed = Buildx(api, toolchain.bin_directory / "buildx", buildx.home)
        allowed.create(line, "--bootstrap")

    ((container,),) = [each["spec"]["template"]["spec"]["containers"] for each in allowed.workloads()]
    assert container["image"].startswith("docker.io/moby/buildkit@sha256:")


# What the group may not


def test_the_binding_names_the_group_and_nobody_else(objects: Mapping[str, Any]) -> None:
    binding = objects["RoleBinding"]

    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "builders-of-main"}
    ]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "buildx"}
    assert binding["metadata"]["namespace"] == objects["Role"]["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize(
    "call",
    [
        Call("buildkit-main", "create", "apps", "statefulsets"),
        Call("buildkit-main", "create", "", "pods/exec"),
        Call(NAMESPACE, "create", "", "pods"),
        Call(NAMESPACE, "get", "", "secrets"),
        Call(NAMESPACE, "create", "", "serviceaccounts/token"),
        Call(NAMESPACE, "update", "apps", "statefulsets"),
        Call(NAMESPACE, "create", "rbac.authorization.k8s.io", "rolebindings"),
        Call(NAMESPACE, "get", "", "configmaps"),
        Call(NAMESPACE, "create", "batch", "jobs"),
        Call(NAMESPACE, "create", "", "pods/portforward"),
    ],
    ids=lambda call: f"{call.verb} {call.resource} in {call.namespace}",
)
def test_the_group_may_not(objects: Mapping[str, Any], call: Call) -> None:
    assert not allows(objects["Role"], call)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"serviceAccountName": "default"}, "builders run as the service account builder"),
        ({"serviceAccountName": None}, "builders run as the service account builder"),
        ({"containers": [{"image": "docker.io/library/alpine:latest"}]}, "builders run the fleet's image"),
        ({"containers": [{"image": IMAGE}, {"image": "other"}]}, "builders run the fleet's image"),
        ({"initContainers": [{"image": IMAGE}]}, "builders run the fleet's image"),
        ({"nodeSelector": {"cdk-buildkit/fleet": "buildkit-pull-requests"}}, "builders run on the fleet's nodes"),
        ({"nodeSelector": {"kubernetes.io/arch": "arm64"}}, "builders run on the fleet's nodes"),
        ({"nodeSelector": None}, "builders run on the fleet's nodes"),
        ({"nodeName": "ip-10-0-0-1"}, "builders run on the fleet's nodes"),
        ({"hostNetwork": True}, "builders share no namespace with their node"),
        ({"hostPID": True}, "builders share no namespace with their node"),
        ({"hostIPC": True}, "builders share no namespace with their node"),
        ({"volumes": [{"hostPath": {"path": "/"}}]}, "builders mount nothing but what buildx gives them"),
        ({"volumes": [{"emptyDir": {}}, {"secret": {"secretName": "a"}}]}, "builders mount nothing but"),
    ],
)
def test_the_policy_admits_no_builder_that_is_something_else(
    objects: Mapping[str, Any], change: Mapping[str, Any], words: str
) -> None:
    pod = {
        "serviceAccountName": "builder",
        "nodeSelector": {"cdk-buildkit/fleet": "buildkit-main"},
        "containers": [{"image": IMAGE}],
    }
    changed = {key: each for key, each in (pod | dict(change)).items() if each is not None}
    policy = objects["ValidatingAdmissionPolicy"]

    assert refusals(policy, {"spec": {"template": {"spec": pod}}}) == []
    (message,) = refusals(policy, {"spec": {"template": {"spec": changed}}})
    assert message.startswith(words)


def test_the_policy_holds_in_the_namespace_and_denies(objects: Mapping[str, Any]) -> None:
    binding, policy = objects["ValidatingAdmissionPolicyBinding"], objects["ValidatingAdmissionPolicy"]

    assert binding["spec"] == {
        "policyName": policy["metadata"]["name"],
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}},
    }
    assert policy["spec"]["failurePolicy"] == "Fail"
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    creatable = {
        resource
        for each in objects["Role"]["rules"]
        if "create" in each["verbs"] and each["apiGroups"] == ["apps"]
        for resource in each["resources"]
    }
    assert set(rule["resources"]) == creatable


# The rest of the stack


def test_the_objects_are_valid_in_every_version(template: Template) -> None:
    schemas = Schemas()

    manifests = template_manifests(template.to_json())

    assert len(manifests) == 9
    for manifest in manifests:
        assert [schemas.problems(manifest, version) for version in KUBERNETES_VERSIONS] == [[], [], []]
        assert images(manifest) == []


def test_the_builders_role_is_for_the_namespaces_builders_and_the_cache(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    (role,) = [
        each
        for each in template.find_resources("AWS::IAM::Role").values()
        if "kubernetes driver" in each["Properties"].get("Description", "")
    ]
    (statement,) = readable(role["Properties"]["AssumeRolePolicyDocument"])["Statement"]

    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"]["aws:RequestTag/kubernetes-namespace"] == NAMESPACE
    template.has_resource_properties(
        "AWS::EKS::PodIdentityAssociation", {"Namespace": NAMESPACE, "ServiceAccount": "builder"}
    )


def test_a_role_that_is_granted_to_create_is_in_the_group_and_may_look_up_the_cluster(make_driver: MakeDriver) -> None:
    driver = make_driver()
    pipeline = iam.Role(cdk.Stack.of(driver), "Pipeline", assumed_by=iam.AccountRootPrincipal())

    driver.grant_create(pipeline)

    template = Template.from_stack(cdk.Stack.of(driver))
    (entry,) = [
        each["Properties"]
        for each in template.find_resources("AWS::EKS::AccessEntry").values()
        if "KubernetesGroups" in each["Properties"]
    ]
    assert entry["KubernetesGroups"] == ["builders-of-main"]
    assert "AccessPolicies" not in entry
    assert "eks:DescribeCluster" in json.dumps(template.find_resources("AWS::IAM::Policy"))


def test_the_timeout_of_the_line_is_as_given(make_driver: MakeDriver) -> None:
    line = lines(make_driver(timeout=timedelta(minutes=3)))[Architecture.X86_64]

    assert "--driver-opt timeout=180s" in line


def test_an_image_without_a_digest_is_refused(make_driver: MakeDriver) -> None:
    with pytest.raises(ValueError, match=r"pinned by its digest.*got 'moby/buildkit:latest': take the digest that"):
        make_driver(image="moby/buildkit:latest")
