"""What a fleet on EKS makes: its trust tier in the cluster, its pods, its nodes, and its address."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Match, Template

from cdk_buildkit import (
    Architecture,
    BuilderCapacity,
    BuilderCertificates,
    BuilderCluster,
    BuilderImages,
    BuilderScaling,
    CacheBucket,
    CacheScope,
    EksBuilderFleet,
    ExistingCluster,
    PodResources,
    WarmPool,
)
from cdk_buildkit.builder_load_balancer import BUILDKIT_PORT, HEALTH_PORT
from cdk_buildkit.host import fetch_certificate, health_server, pod_agent
from tests.eks_templates import MANIFEST, Objects, applied

EXAMPLES = Path(__file__).parent.parent / "examples"
DIGEST = "0123456789abcdef" * 4
IMAGES = BuilderImages(buildkit=f"moby/buildkit@sha256:{DIGEST}", aws_cli=f"aws-cli@sha256:{DIGEST}")


@pytest.fixture(scope="module")
def templates(synthesize: Callable[[Path], dict[str, Template]]) -> Mapping[str, Template]:
    return synthesize(EXAMPLES / "eks.toml")


@pytest.fixture(scope="module")
def template(templates: Mapping[str, Template]) -> Template:
    return templates["buildkit-builders-main"]


@pytest.fixture(scope="module")
def objects(template: Template, readable: Callable[[Any], Any]) -> Objects:
    return applied(template, readable)


@pytest.fixture(scope="module")
def pull_requests(templates: Mapping[str, Template], readable: Callable[[Any], Any]) -> Objects:
    return applied(templates["buildkit-builders-pull-requests"], readable)


@pytest.fixture(scope="module")
def given(synthesize: Callable[[Path], dict[str, Template]]) -> Mapping[str, Template]:
    """The templates beside a cluster, a VPC and a zone that are given."""
    return synthesize(EXAMPLES / "eks-existing-cluster.toml")


@pytest.fixture(scope="module")
def on_given(given: Mapping[str, Template], readable: Callable[[Any], Any]) -> Objects:
    return applied(given["buildkit-builders-main"], readable)


@pytest.fixture(scope="module")
def pod(objects: Objects) -> Mapping[str, Any]:
    specification: Mapping[str, Any] = objects["StatefulSet/builder-x86-64"]["spec"]["template"]["spec"]
    return specification


@pytest.fixture(scope="module")
def containers(pod: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}


def test_a_fleet_applies_these_objects_and_no_other(objects: Objects) -> None:
    assert sorted(objects) == [
        "ConfigMap/host-files",
        "Namespace/buildkit-main",
        "NetworkPolicy/builders",
        "NetworkPolicy/deny",
        "NodeClass/buildkit-main",
        "NodePool/buildkit-main-arm64",
        "NodePool/buildkit-main-x86-64",
        "PodDisruptionBudget/builders-arm64",
        "PodDisruptionBudget/builders-x86-64",
        "ResourceQuota/builders",
        "ScaledObject/builder-arm64",
        "ScaledObject/builder-x86-64",
        "Service/arm64",
        "Service/builders-arm64",
        "Service/builders-x86-64",
        "Service/x86-64",
        "ServiceAccount/builder",
        "StatefulSet/builder-arm64",
        "StatefulSet/builder-x86-64",
        "StorageClass/buildkit-main",
        "TargetGroupBinding/arm64",
        "TargetGroupBinding/x86-64",
        "TriggerAuthentication/builder-arm64",
        "TriggerAuthentication/builder-x86-64",
    ]


def test_what_is_in_a_namespace_is_in_the_fleets_own(objects: Objects) -> None:
    outside = {"Namespace", "NodeClass", "NodePool", "StorageClass"}

    namespaces = {
        name: each["metadata"].get("namespace") for name, each in objects.items() if each["kind"] not in outside
    }
    assert set(namespaces.values()) == {"buildkit-main"}


def test_no_value_of_the_files_is_left_in_what_is_applied(objects: Objects) -> None:
    text = json.dumps([each for name, each in objects.items() if not name.startswith("ConfigMap")])

    for example in ("111122223333", "sha256:000", "0123456789abcdef0", "eu-west-1", "buildkit-main-nodes", "example"):
        assert example not in text, example
    assert "buildkit-main" not in json.dumps({"arm64": objects["StatefulSet/builder-arm64"]["spec"]["selector"]})


def test_two_fleets_share_no_name_in_the_cluster(objects: Objects, pull_requests: Objects) -> None:
    places = [
        {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in fleet.values()}
        for fleet in (objects, pull_requests)
    ]

    assert places[0] & places[1] == set()


def test_the_role_may_do_this_and_nothing_else(template: Template, readable: Callable[[Any], Any]) -> None:
    (policy,) = (
        each["Properties"]
        for name, each in template.find_resources("AWS::IAM::Policy").items()
        if name.startswith("FleetRole")
    )

    assert readable(policy["PolicyDocument"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                "Effect": "Allow",
                "Resource": "<CertificatesServer>",
            },
            {
                "Action": "cloudwatch:PutMetricData",
                "Condition": {"StringEquals": {"cloudwatch:namespace": "CdkBuildkit"}},
                "Effect": "Allow",
                "Resource": "*",
            },
            {
                "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                "Effect": "Allow",
                "Resource": ["<Arm64CacheBucket.Arn>/main/*", "<X8664CacheBucket.Arn>/main/*"],
            },
            {
                "Action": "s3:ListBucket",
                "Effect": "Allow",
                "Resource": ["<Arm64CacheBucket.Arn>", "<X8664CacheBucket.Arn>"],
            },
        ],
    }


def test_only_this_service_account_of_this_cluster_has_the_role(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    (role,) = (
        each["Properties"]
        for name, each in template.find_resources("AWS::IAM::Role").items()
        if name.startswith("FleetRole")
    )

    assert set(role) == {"AssumeRolePolicyDocument", "Description"}
    (statement,) = readable(role["AssumeRolePolicyDocument"]["Statement"])
    assert statement == {
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Condition": {
            "StringEquals": {
                "aws:RequestTag/eks-cluster-arn": "<Cluster.Arn>",
                "aws:RequestTag/kubernetes-namespace": "buildkit-main",
                "aws:RequestTag/kubernetes-service-account": "builder",
            }
        },
    }
    template.has_resource_properties(
        "AWS::EKS::PodIdentityAssociation", {"Namespace": "buildkit-main", "ServiceAccount": "builder"}
    )


def test_nodes_may_join_and_pull_and_nothing_else(template: Template, readable: Callable[[Any], Any]) -> None:
    (role,) = (
        each["Properties"]
        for name, each in template.find_resources("AWS::IAM::Role").items()
        if name.startswith("FleetNodesRole")
    )

    assert readable(role["ManagedPolicyArns"]) == [
        f"arn:<AWS::Partition>:iam::aws:policy/{name}"
        for name in ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
    ]
    template.has_resource_properties("AWS::EKS::AccessEntry", {"Type": "EC2"})


def test_pods_have_no_right_in_kubernetes_and_nothing_of_the_node(pod: Mapping[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "builder"
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} == {"configMap", "emptyDir"}


def test_the_daemon_alone_is_privileged(containers: Mapping[str, Mapping[str, Any]]) -> None:
    contexts = {name: each["securityContext"] for name, each in containers.items()}

    assert contexts.pop("buildkitd") == {"privileged": True}
    assert contexts["network"]["capabilities"].pop("add") == ["NET_ADMIN", "NET_RAW"]
    for name, context in contexts.items():
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name


def test_every_image_is_pinned_and_the_one_that_is_given(containers: Mapping[str, Mapping[str, Any]]) -> None:
    images = {name: each["image"] for name, each in containers.items()}

    buildkit, aws_cli = f"docker.io/moby/buildkit@sha256:{DIGEST}", f"public.ecr.aws/aws-cli/aws-cli@sha256:{DIGEST}"
    # `readable` takes 64 hexadecimal digits for an asset's.
    assert {name: image.replace("<hash>", DIGEST) for name, image in images.items()} == {
        "certificate": aws_cli,
        "python": aws_cli,
        "network": buildkit,
        "agent": aws_cli,
        "buildkitd": buildkit,
    }


def test_what_prepares_a_pod_comes_before_its_agent_and_the_agent_before_the_daemon(pod: Mapping[str, Any]) -> None:
    assert [(each["name"], each.get("restartPolicy")) for each in pod["initContainers"]] == [
        ("certificate", None),
        ("python", None),
        ("network", None),
        ("agent", "Always"),
    ]
    assert [each["name"] for each in pod["containers"]] == ["buildkitd"]


def test_the_containers_have_the_environment_of_a_builder_on_ec2(containers: Mapping[str, Mapping[str, Any]]) -> None:
    environment = {
        name: {each["name"]: each["value"] for each in container.get("env", [])}
        for name, container in containers.items()
    }

    assert environment["certificate"] == {"AWS_REGION": "<AWS::Region>", "CERTIFICATE_SECRET": "<CertificatesServer>"}
    assert environment["agent"] == {
        "AWS_REGION": "<AWS::Region>",
        "FLEET": "main.buildkit.buildkit.internal",
        "ARCHITECTURE": "x86_64",
        "METRIC_NAMESPACE": "CdkBuildkit",
        "PUBLISH_SECONDS": "10",
        "MAX_BUILDS": "4",
        "LONGEST_BUILD_SECONDS": "3600",
        "SETTLING_SECONDS": "120",
        "BUILDCTL": "/opt/cdk-buildkit/buildctl",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert environment["buildkitd"] == {
        "AWS_REGION": "<AWS::Region>",
        "AWS_BUCKET": "<X8664CacheBucket>",
        "BUILDKIT_SETUP_CGROUPV2_ROOT": "0",
        "BUILDKIT_RUNC": "/usr/bin/buildkit-runc",
        "SETTLING_SECONDS": "120",
        "MAX_PARALLELISM": "0",
        "STEP_MEMORY_BYTES": "0",
        "STEP_CPUS": "0",
    }


def test_the_certificate_is_in_memory_where_the_host_puts_it(
    pod: Mapping[str, Any], containers: Mapping[str, Mapping[str, Any]]
) -> None:
    (volume,) = (each for each in pod["volumes"] if each["name"] == "certificate")

    assert volume["emptyDir"]["medium"] == "Memory"
    mounts = {
        name: (each["mountPath"], each.get("readOnly", False))
        for name, container in containers.items()
        for each in container["volumeMounts"]
        if each["name"] == "certificate"
    }
    directory = str(fetch_certificate.DIRECTORY)
    assert mounts == {"certificate": (directory, False), "buildkitd": (directory, True)}


def test_a_pod_is_ready_by_its_agent_and_lives_by_calls_of_a_real_client(
    containers: Mapping[str, Mapping[str, Any]],
) -> None:
    daemon = containers["buildkitd"]

    assert daemon["readinessProbe"]["httpGet"] == {"path": pod_agent.READY_PATH, "port": health_server.HEALTH_PORT}
    for probe in ("startupProbe", "livenessProbe"):
        assert daemon[probe]["exec"]["command"][0] == "buildctl"
    assert daemon["ports"] == [{"name": "buildkit", "containerPort": BUILDKIT_PORT, "protocol": "TCP"}]
    assert containers["agent"]["ports"] == [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}]


def test_a_pod_that_goes_has_the_time_of_settling_and_the_longest_build_and_more(
    pod: Mapping[str, Any], containers: Mapping[str, Mapping[str, Any]]
) -> None:
    command = containers["buildkitd"]["lifecycle"]["preStop"]["exec"]["command"]

    assert command == ["sh", "/opt/cdk_buildkit_host/pod_leave.sh"]
    assert pod["terminationGracePeriodSeconds"] == 120 + 3600 + 120


def test_nobody_moves_a_builder_and_only_one_is_taken_at_a_time(objects: Objects) -> None:
    for name in ("arm64", "x86-64"):
        template = objects[f"StatefulSet/builder-{name}"]["spec"]["template"]
        budget = objects[f"PodDisruptionBudget/builders-{name}"]["spec"]
        assert template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_services_and_stateful_sets_select_the_pods_of_their_architecture(objects: Objects) -> None:
    for architecture, name in (("arm64", "arm64"), ("x86_64", "x86-64")):
        specification = objects[f"StatefulSet/builder-{name}"]["spec"]
        labels = specification["template"]["metadata"]["labels"]
        assert labels["cdk-buildkit/architecture"] == architecture
        assert specification["selector"]["matchLabels"].items() <= labels.items()
        assert specification["serviceName"] == f"builders-{name}"
        for service in (name, f"builders-{name}"):
            assert objects[f"Service/{service}"]["spec"]["selector"].items() <= labels.items()


def test_pods_are_on_nodes_of_their_own(objects: Objects, pod: Mapping[str, Any]) -> None:
    pool = objects["NodePool/buildkit-main-x86-64"]["spec"]

    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64", "cdk-buildkit/fleet": "buildkit-main"}
    taint = {"key": "cdk-buildkit/fleet", "value": "buildkit-main", "effect": "NoSchedule"}
    assert pool["template"]["spec"]["taints"] == [taint]
    assert pod["tolerations"] == [{**taint, "operator": "Equal"}]
    assert pool["template"]["metadata"]["labels"] == {"cdk-buildkit/fleet": "buildkit-main"}
    requirements = {each["key"]: each["values"] for each in pool["template"]["spec"]["requirements"]}
    assert requirements == {
        "kubernetes.io/os": ["linux"],
        "kubernetes.io/arch": ["amd64"],
        "node.kubernetes.io/instance-type": ["c6id.2xlarge", "m6id.2xlarge", "c5d.2xlarge", "m5d.2xlarge"],
        "karpenter.sh/capacity-type": ["on-demand"],
    }


def test_nodes_go_when_they_are_empty_or_old_and_let_a_builder_drain(objects: Objects, pod: Mapping[str, Any]) -> None:
    specification = objects["NodePool/buildkit-main-arm64"]["spec"]

    assert specification["disruption"]["consolidationPolicy"] == "WhenEmpty"
    assert specification["limits"] == {"cpu": str(9 * 8)}
    nodes = specification["template"]["spec"]
    assert nodes["expireAfter"] == f"{14 * 24}h"
    assert int(nodes["terminationGracePeriod"].rstrip("h")) * 3600 > pod["terminationGracePeriodSeconds"]


def test_nodes_are_in_the_private_subnets_with_the_clusters_group(objects: Objects) -> None:
    node_class = objects["NodeClass/buildkit-main"]["spec"]

    assert node_class["role"] == "<FleetNodesRole>"
    assert [each["id"] for each in node_class["subnetSelectorTerms"]] == [
        f"<VpcBuildersSubnet{number}Subnet>" for number in (1, 2)
    ]
    assert node_class["securityGroupSelectorTerms"] == [{"id": "<Cluster.ClusterSecurityGroupId>"}]


def test_a_share_of_spot_builders_is_on_demand(pull_requests: Objects) -> None:
    pools = {
        name: {each["key"]: each["values"] for each in pool["spec"]["template"]["spec"]["requirements"]}
        for name, pool in pull_requests.items()
        if pool["kind"] == "NodePool" and "arm64" in name
    }

    shares = {
        name: (values["karpenter.sh/capacity-type"], values["cdk-buildkit/capacity"]) for name, values in pools.items()
    }
    assert shares == {
        "NodePool/buildkit-pull-requests-arm64-on-demand": (["on-demand"], ["0"]),
        "NodePool/buildkit-pull-requests-arm64-spot": (["spot", "on-demand"], ["1", "2", "3", "4"]),
    }
    pod = pull_requests["StatefulSet/builder-arm64"]["spec"]["template"]["spec"]
    spread = {each["topologyKey"]: each["whenUnsatisfiable"] for each in pod["topologySpreadConstraints"]}
    assert spread == {"topology.kubernetes.io/zone": "ScheduleAnyway", "cdk-buildkit/capacity": "DoNotSchedule"}


def test_a_store_on_a_volume_is_found_again_and_one_on_the_node_is_not(
    objects: Objects, pull_requests: Objects
) -> None:
    on_volume = objects["StatefulSet/builder-arm64"]["spec"]
    on_node = pull_requests["StatefulSet/builder-arm64"]["spec"]

    (claim,) = on_volume["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "buildkit-main"
    assert claim["spec"]["resources"]["requests"]["storage"] == "200Gi"
    parameters = objects["StorageClass/buildkit-main"]["parameters"]
    assert (parameters["iops"], parameters["throughput"], parameters["encrypted"]) == ("6000", "500", "true")
    assert "volumeClaimTemplates" not in on_node
    assert {"name": "store", "emptyDir": {"sizeLimit": "200Gi"}} in on_node["template"]["spec"]["volumes"]
    assert not any(name.startswith("StorageClass") for name in pull_requests)


def test_the_nodes_disk_has_room_for_the_store_that_is_on_it(objects: Objects, pull_requests: Objects) -> None:
    assert objects["NodeClass/buildkit-main"]["spec"]["ephemeralStorage"]["size"] == "80Gi"
    assert pull_requests["NodeClass/buildkit-pull-requests"]["spec"]["ephemeralStorage"]["size"] == "280Gi"


def test_builders_reach_the_internet_dns_and_their_identity_and_nothing_private(objects: Objects) -> None:
    policy = objects["NetworkPolicy/builders"]["spec"]

    internet, dns, identity = policy["egress"]
    assert internet["to"][0]["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} < set(
        internet["to"][0]["ipBlock"]["except"]
    )
    assert dns == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert identity == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }


def test_builders_are_reached_from_the_clients_namespaces_and_the_load_balancer(
    objects: Objects, pull_requests: Objects
) -> None:
    in_cluster, in_vpc = objects["NetworkPolicy/builders"]["spec"]["ingress"]

    (selector,) = in_cluster["from"][0]["namespaceSelector"]["matchExpressions"]
    assert selector == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["ci"]}
    assert [each["port"] for each in in_cluster["ports"]] == [BUILDKIT_PORT]
    assert in_vpc["from"] == [{"ipBlock": {"cidr": "<Vpc.CidrBlock>"}}]
    assert [each["port"] for each in in_vpc["ports"]] == [BUILDKIT_PORT, HEALTH_PORT]
    assert pull_requests["NetworkPolicy/builders"]["spec"]["ingress"] == [in_cluster]
    denied = objects["NetworkPolicy/deny"]["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_target_groups_are_those_of_ec2_but_for_what_a_target_is(
    template: Template, default_templates: Mapping[str, Template], readable: Callable[[Any], Any]
) -> None:
    def groups(template: Template) -> list[Any]:
        found = template.find_resources("AWS::ElasticLoadBalancingV2::TargetGroup")
        return [readable(each["Properties"]) for each in found.values()]

    pods, instances = groups(template), groups(default_templates["buildkit-builders-main"])

    assert [each.pop("TargetType") for each in pods] == ["ip", "ip"]
    assert [each.pop("TargetType") for each in instances] == ["instance", "instance"]
    # By this tag EKS Auto Mode may register targets in it.
    assert [each.pop("Tags") for each in pods] == [[{"Key": "eks:eks-cluster-name", "Value": "<Cluster>"}]] * 2
    assert pods == instances


def test_pods_join_the_target_group_of_their_architecture(objects: Objects) -> None:
    for name, group in (("arm64", "Arm64"), ("x86-64", "X8664")):
        binding = objects[f"TargetGroupBinding/{name}"]
        assert binding["apiVersion"] == "eks.amazonaws.com/v1"
        assert binding["spec"] == {
            "serviceRef": {"name": name, "port": BUILDKIT_PORT},
            "targetGroupARN": f"<FleetLoadBalancer{group}Targets>",
            "targetType": "ip",
        }


def test_the_load_balancer_reaches_the_nodes_and_clients_reach_it(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    rules = [
        readable(each["Properties"]) for each in template.find_resources("AWS::EC2::SecurityGroupIngress").values()
    ]

    assert {(each["GroupId"], each["SourceSecurityGroupId"], each["FromPort"], each["ToPort"]) for each in rules} == {
        ("<Cluster.ClusterSecurityGroupId>", "<FleetLoadBalancerSecurityGroup.GroupId>", port, port)
        for port in (BUILDKIT_PORT, HEALTH_PORT)
    }
    template.has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {"SecurityGroupIngress": [Match.object_like({"CidrIp": "10.0.0.0/16", "FromPort": 1234, "ToPort": 1235})]},
    )


def test_pods_wait_for_what_they_need_and_go_before_it(template: Template) -> None:
    (pods,) = (
        each for name, each in template.find_resources(MANIFEST).items() if name.startswith("FleetX8664Builders")
    )

    needed = ("FleetFiles", "FleetStorage", "FleetNodes", "FleetNamespaceIdentity", "FleetRoleDefaultPolicy")
    for name in needed:
        assert any(each.startswith(name) for each in pods["DependsOn"]), name


def test_a_new_certificate_and_new_files_replace_the_pods(objects: Objects) -> None:
    annotations = objects["StatefulSet/builder-arm64"]["spec"]["template"]["metadata"]["annotations"]

    assert annotations["cdk-buildkit/certificate-revision"] == "<CertificatesIssued.Revision>"
    assert annotations["cdk-buildkit/host-files"] == "<hash>"


def test_the_quota_is_for_twice_the_builders(objects: Objects) -> None:
    assert objects["ResourceQuota/builders"]["spec"]["hard"] == {
        "pods": "32",
        "persistentvolumeclaims": "32",
        "services.loadbalancers": "0",
        "services.nodeports": "0",
    }


def test_a_fleet_says_how_it_is_reached(template: Template) -> None:
    outputs = dict(template.find_outputs("*"))

    assert "Client" in outputs.pop("ClientCertificateSecret")["Value"]["Ref"]
    assert "Waker" in outputs.pop("WakeFunction")["Value"]["Ref"]
    assert "CacheNames" in outputs.pop("CacheNamesFunction")["Value"]["Ref"]
    assert {name: each["Value"] for name, each in outputs.items()} == {
        "ServerName": "main.buildkit.buildkit.internal",
        "Namespace": "buildkit-main",
        "WriteScope": "main",
        "Arm64Service": "tcp://arm64.buildkit-main.svc:1234",
        "X8664Service": "tcp://x86-64.buildkit-main.svc:1234",
        "Arm64Endpoint": "tcp://main.buildkit.buildkit.internal:1235",
        "X8664Endpoint": "tcp://main.buildkit.buildkit.internal:1234",
    }


def test_on_a_cluster_without_auto_mode_nodes_and_drivers_are_its_owners(on_given: Objects) -> None:
    assert not any(name.startswith(("NodePool", "NodeClass")) for name in on_given)
    assert on_given["StorageClass/buildkit-main"]["provisioner"] == "ebs.csi.aws.com"
    assert on_given["TargetGroupBinding/x86-64"]["apiVersion"] == "elbv2.k8s.aws/v1beta1"
    assert on_given["StatefulSet/builder-x86-64"]["spec"]["template"]["spec"]["hostUsers"] is False
    blocks = on_given["NetworkPolicy/builders"]["spec"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.20.4.0/24"}}]} in blocks


def test_a_given_cluster_is_not_made_and_admits_what_applies_manifests(given: Mapping[str, Template]) -> None:
    template = given["buildkit-cluster"]

    template.resource_count_is("AWS::EKS::Cluster", 0)
    template.has_resource_properties("AWS::EKS::AccessEntry", {"ClusterName": "platform"})
    assert given["buildkit-network"].to_json().get("Resources", {}) == {}


# What a construct refuses.


@pytest.fixture
def stack(make_app: Callable[[], cdk.App]) -> cdk.Stack:
    return cdk.Stack(make_app(), "fleet")


def cluster_of(stack: cdk.Stack, *, auto_mode: bool = True) -> BuilderCluster:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        vpc_cidr_block="10.0.0.0/16",
        availability_zones=["eu-west-1a"],
        private_subnet_ids=["subnet-0123456789abcdef0"],
        private_subnet_route_table_ids=["rtb-0123456789abcdef0"],
    )
    existing = ExistingCluster(name="given", security_group_id="sg-0123456789abcdef0", auto_mode=auto_mode)
    return BuilderCluster(stack, "Cluster", vpc=vpc, existing=existing)


def fleet(stack: cdk.Stack, *, auto_mode: bool = True, **settings: Any) -> EksBuilderFleet:  # noqa: ANN401 - its own
    main = CacheScope("main")
    defaults: dict[str, Any] = {
        "cluster": cluster_of(stack, auto_mode=auto_mode),
        "zone": route53.PrivateHostedZone.from_private_hosted_zone_attributes(
            stack, "Zone", hosted_zone_id="Z1", zone_name="b.internal"
        ),
        "record_name": "main",
        "caches": {Architecture.ARM64: CacheBucket(stack, "Cache", scopes=[main])},
        "write": main,
        "images": IMAGES,
        "client_namespaces": ["ci"],
    }
    return EksBuilderFleet(stack, "Fleet", **defaults | settings)


REFUSALS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no cache": (
        {"caches": {}},
        (
            "a fleet has builders of the architectures that it has a cache for; got caches for [], capacities for []: "
            "give a CacheBucket for each architecture"
        ),
    ),
    "a capacity without a cache": (
        {"capacities": {Architecture.X86_64: BuilderCapacity()}},
        (
            "a fleet has builders of the architectures that it has a cache for; got caches for ['arm64'], capacities "
            "for ['x86_64']: give a CacheBucket for each architecture"
        ),
    ),
    "nobody who reaches it": (
        {"client_namespaces": []},
        (
            "builders are reached from client_namespaces, through a load_balancer, or both; got neither: name the "
            "clients' namespaces, or have a load balancer"
        ),
    ),
    "a namespace that is no name": (
        {"namespace": "Build_Kit"},
        (
            "a fleet's namespace is 1 to 46 lower-case letters, digits and hyphens, no hyphen at an end, for its "
            "nodes' names begin with it; got 'Build_Kit': give `namespace`"
        ),
    ),
    "user namespaces on Auto Mode": (
        {"user_namespaces": True},
        (
            "user_namespaces is for an existing cluster without EKS Auto Mode: its nodes allow no user namespaces "
            "(https://github.com/aws/containers-roadmap/issues/2797); got it with Auto Mode: leave it out, or give an "
            "ExistingCluster with auto_mode=False and nodes of your own"
        ),
    ),
    "families of another architecture": (
        {"instance_families": ["c7gd", "c6id"]},
        (
            "instance families are of the fleet's architectures, at least one of each; got c7gd, c6id for arm64: name "
            "for example c7gd for arm64, c6id for x86_64"
        ),
    ),
    "families without Auto Mode": (
        {"auto_mode": False, "instance_families": ["c7gd"]},
        (
            "instance_families is for EKS Auto Mode, which makes the nodes; got some for a cluster without it: leave "
            "them out, its nodes are its owner's"
        ),
    ),
    "an AMI": (
        {"capacities": {Architecture.ARM64: BuilderCapacity(ami_id="ami-0123456789abcdef0")}},
        "EKS chooses its nodes' AMI; got an ami_id: leave it out",
    ),
    "a warm pool": (
        {"scaling": BuilderScaling(warm_pool=WarmPool())},
        "a warm pool is of EC2 instances; got one for pods: leave it out",
    ),
    "builders on demand by their number": (
        {
            "capacities": {Architecture.ARM64: BuilderCapacity(spot=True)},
            "scaling": BuilderScaling(on_demand_base_capacity=1),
        },
        (
            "pods are on demand by shares: on_demand_base_capacity is 0, and on_demand_percentage a multiple of a "
            "tenth, a quarter or a third; got 1 and 0: take for example 0 and 20"
        ),
    ),
    "an odd share on demand": (
        {
            "capacities": {Architecture.ARM64: BuilderCapacity(spot=True)},
            "scaling": BuilderScaling(on_demand_percentage=3),
        },
        (
            "pods are on demand by shares: on_demand_base_capacity is 0, and on_demand_percentage a multiple of a "
            "tenth, a quarter or a third; got 0 and 3: take for example 0 and 20"
        ),
    ),
    "nodes that live too long": (
        {"max_node_lifetime": cdk.Duration.days(22)},
        "a node of EKS Auto Mode lives for 21 days at most; got a lifetime of 22 days: lower it",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_fleet_refuses(stack: cdk.Stack, what: str) -> None:
    settings, words = REFUSALS[what]

    with pytest.raises(ValueError, match=r".+") as refusal:
        fleet(stack, **settings)

    assert str(refusal.value) == words


def test_nodes_are_of_any_size_of_the_families_that_are_named(stack: cdk.Stack, readable: Callable[[Any], Any]) -> None:
    fleet(stack, instance_families=["c7gd", "m7gd"], resources=PodResources(cpu=3))

    pool = applied(Template.from_stack(stack), readable)["NodePool/buildkit-main-arm64"]["spec"]
    requirements = {each["key"]: each["values"] for each in pool["template"]["spec"]["requirements"]}
    assert requirements["eks.amazonaws.com/instance-family"] == ["c7gd", "m7gd"]
    assert "node.kubernetes.io/instance-type" not in requirements
    assert pool["limits"] == {"cpu": str(9 * 8)}


@pytest.mark.parametrize(("fallback", "types"), [(True, ["spot", "on-demand"]), (False, ["spot"])])
def test_what_spot_capacity_has_not_may_be_on_demand(
    stack: cdk.Stack,
    readable: Callable[[Any], Any],
    fallback: bool,  # noqa: FBT001 - a parameter
    types: list[str],
) -> None:
    capacities = {Architecture.ARM64: BuilderCapacity(spot=True)}
    fleet(stack, capacities=capacities, scaling=BuilderScaling(on_demand_fallback=fallback))

    pool = applied(Template.from_stack(stack), readable)["NodePool/buildkit-main-arm64"]["spec"]
    requirements = {each["key"]: each["values"] for each in pool["template"]["spec"]["requirements"]}
    assert requirements["karpenter.sh/capacity-type"] == types


def test_a_fleet_refuses_certificates_for_another_name(stack: cdk.Stack) -> None:
    certificates = BuilderCertificates(stack, "Certificates", domain_name="other.b.internal")

    with pytest.raises(ValueError, match=r"for its own name, main\.b\.internal; got certificates for other"):
        fleet(stack, certificates=certificates)


def test_a_fleet_refuses_nodes_that_outlive_the_certificate(stack: cdk.Stack) -> None:
    certificates = BuilderCertificates(
        stack, "Certificates", domain_name="main.b.internal", server_life=cdk.Duration.days(30)
    )

    with pytest.raises(ValueError, match="or builders outlive their certificates; got 14 days"):
        fleet(stack, certificates=certificates)


def test_pods_may_be_in_user_namespaces_on_nodes_that_allow_it(stack: cdk.Stack) -> None:
    assert fleet(stack, auto_mode=False, user_namespaces=True).services == {
        Architecture.ARM64: "arm64.buildkit-main.svc"
    }


@pytest.mark.parametrize("image", ["moby/buildkit:v0.31.2", "moby/buildkit", "moby/buildkit@sha256:12"])
def test_an_image_without_its_digest_is_refused_with_the_way_to_find_it(image: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refusal:
        BuilderImages(buildkit=image, aws_cli=IMAGES.aws_cli)

    assert str(refusal.value) == (
        f"buildkit is an image pinned by its digest, <repository>@sha256:<64 hexadecimal digits>; got {image!r}: take "
        "the digest that `docker buildx imagetools inspect docker.io/moby/buildkit:v0.31.2` prints, or your mirror's"
    )


def test_a_builder_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 0 and 12288 MiB: raise them"):
        PodResources(cpu=0)
