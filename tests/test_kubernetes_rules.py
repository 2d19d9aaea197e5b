"""What Kubernetes makes of a pod's settings, as the pods that run here are given it: no process runs."""

import pytest

from local.kubernetes.environment import command_line, environment, expand
from local.kubernetes.network_policy import Member, rules
from local.kubernetes.objects import KubernetesError, Objects, check_fields, pod_of, quantity, selects
from local.kubernetes.oci import CAPABILITIES, NODE_MEMORY, Security, oom_score_adjustment

POD = Member(namespace="builders", labels={"app": "builder"}, address="10.64.0.2", ports={"buildkit": 1234})
CLIENT = Member(namespace="ci", labels={"app": "runner"}, address="10.64.0.3", ports={})
REPLIES = "--match conntrack --ctstate ESTABLISHED,RELATED --jump RETURN"


def policy(**specification: object) -> Objects:
    manifest = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "policy", "namespace": "builders"},
        "spec": {"podSelector": {}, **specification},
    }
    return Objects([manifest])


def accepted(direction: str, objects: Objects) -> list[str]:
    return [" ".join(rule) for rule in rules(direction, POD, [POD, CLIENT], objects)]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)/x", "1/x"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("$$", "$")],
)
def test_a_variable_is_put_in_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_a_variable_may_name_those_before_it() -> None:
    container = {"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]}

    assert environment(container, {}, "builders", Objects([])) == {"A": "1", "B": "12"}


def test_a_variable_from_what_is_not_known_is_refused() -> None:
    container = {"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}

    with pytest.raises(KubernetesError, match=r"c: no meaning is known here for a variable from .*secretKeyRef"):
        environment(container, {}, "builders", Objects([]))


def test_a_command_takes_the_place_of_the_images_entrypoint_and_of_its_arguments() -> None:
    image = {"entrypoint": ["buildkitd"], "default": ["--debug"]}

    assert command_line({}, {}, **image) == ["buildkitd", "--debug"]
    assert command_line({"args": ["--addr"]}, {}, **image) == ["buildkitd", "--addr"]
    assert command_line({"command": ["sh"]}, {}, **image) == ["sh"]


@pytest.mark.parametrize(("text", "number"), [("250m", 0.25), ("12Gi", 12 * 2**30), ("1M", 10**6), (7, 7)])
def test_a_quantity_is_read_with_its_unit(text: str, number: float) -> None:
    assert quantity(text) == number


def test_a_selector_needs_all_that_it_names() -> None:
    selector = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["2", "3"]}]}

    assert selects(selector, {"a": "1", "b": "3"})
    assert not selects(selector, {"a": "1", "b": "4"})
    assert not selects(selector, {"b": "3"})
    assert selects({}, {})


def test_a_pod_of_a_stateful_set_keeps_its_claim_by_its_ordinal() -> None:
    stateful_set = {
        "metadata": {"name": "builder", "namespace": "builders"},
        "spec": {
            "template": {"metadata": {"labels": {"app": "builder"}}, "spec": {"containers": []}},
            "volumeClaimTemplates": [{"metadata": {"name": "store"}}],
        },
    }

    pod = pod_of(stateful_set, 2)

    assert pod["metadata"]["name"] == "builder-2"
    assert pod["spec"]["volumes"] == [{"name": "store", "persistentVolumeClaim": {"claimName": "store-builder-2"}}]


def test_a_field_without_a_meaning_here_is_refused() -> None:
    with pytest.raises(KubernetesError, match="the pod p: no meaning is known here for hostNetwork"):
        check_fields({"hostNetwork": True}, {"containers"}, "the pod p")


def test_a_pod_that_no_policy_selects_is_reached_and_reaches_everything() -> None:
    assert accepted("Egress", Objects([])) == ["--jump RETURN"]


def test_a_policy_for_one_direction_leaves_the_other_alone() -> None:
    assert accepted("Egress", policy(policyTypes=["Ingress"])) == ["--jump RETURN"]
    assert accepted("Ingress", policy(policyTypes=["Ingress"])) == [REPLIES, "--jump DROP"]


def test_a_block_is_accepted_without_its_exceptions() -> None:
    block = {"cidr": "10.0.0.0/30", "except": ["10.0.0.0/32"]}

    rules_ = accepted("Egress", policy(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}]))

    assert rules_[1:-1] == [
        "--destination 10.0.0.1/32 --jump RETURN",
        "--destination 10.0.0.2/31 --jump RETURN",
    ]


def test_pods_are_accepted_by_their_labels_and_those_of_their_namespace() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ci"}}}
    ingress = [{"from": [peer], "ports": [{"port": "buildkit"}]}]

    assert accepted("Ingress", policy(policyTypes=["Ingress"], ingress=ingress))[1:-1] == [
        "--source 10.64.0.3/32 --protocol tcp --dport 1234 --jump RETURN"
    ]


def test_a_rule_that_names_ports_alone_accepts_them_everywhere() -> None:
    egress = [{"ports": [{"protocol": "UDP", "port": 53}]}]

    assert accepted("Egress", policy(policyTypes=["Egress"], egress=egress))[1:-1] == [
        "--protocol udp --dport 53 --jump RETURN"
    ]


def test_a_container_has_the_capabilities_that_it_keeps_and_adds() -> None:
    given = {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": False}

    security = Security.of({"name": "c", "securityContext": given}, {})

    assert list(security.capabilities) == ["NET_ADMIN"]
    assert security.no_new_privileges


def test_a_privileged_container_has_every_capability() -> None:
    security = Security.of({"name": "c", "securityContext": {"privileged": True}}, {})

    assert list(security.capabilities) == list(CAPABILITIES)


def test_a_container_that_must_not_be_root_is_not_run_as_root() -> None:
    with pytest.raises(KubernetesError, match="runAsNonRoot and image will run as root"):
        Security.of({"name": "c"}, {"securityContext": {"runAsNonRoot": True}})


@pytest.mark.parametrize(
    ("resources", "score"),
    [
        ({}, 1000),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, -997),
        ({"requests": {"cpu": "1"}}, 999),
        ({"requests": {"memory": NODE_MEMORY // 4}}, 750),
        ({"requests": {"memory": NODE_MEMORY}}, 2),
    ],
    ids=["best effort", "guaranteed", "little", "a quarter of the node", "all of the node"],
)
def test_the_kubelets_score_follows_from_what_a_pod_asks_for(resources: dict[str, object], score: int) -> None:
    container = {"name": "c", "resources": resources}

    assert oom_score_adjustment(container, {"containers": [container]}) == score
