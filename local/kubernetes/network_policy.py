"""NetworkPolicies as rules of the node's firewall, a chain for each pod and direction. No input or output.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.kubernetes.objects import KubernetesError, Objects, check_fields, selects

_REPLIES = ("--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "RETURN")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A pod as the policies see it.

    Args:
        namespace: Its namespace.
        labels: Its labels.
        address: Its address.
        ports: Its ports by their names.
    """

    namespace: str
    labels: Mapping[str, str]
    address: str
    ports: Mapping[str, int]


def rules(direction: str, pod: Member, pods: Sequence[Member], objects: Objects) -> list[tuple[str, ...]]:
    """Return the rules for what a pod sends or is sent: they return from the chain for what is allowed, or drop.

    Args:
        direction: `Egress` or `Ingress`.
        pod: Whose.
        pods: All that run, this one too.
        objects: The cluster's.

    Raises:
        KubernetesError: A policy has what is not done here.
    """
    policies = [
        each["spec"]
        for each in objects.of_kind("NetworkPolicy", pod.namespace)
        if selects(each["spec"].get("podSelector", {}), pod.labels) and direction in _directions(each["spec"])
    ]
    if not policies:
        return [("--jump", "RETURN")]
    found: list[tuple[str, ...]] = [_REPLIES]
    for policy in policies:
        check_fields(policy, {"podSelector", "policyTypes", "ingress", "egress"}, "a NetworkPolicy")
        for rule in policy.get(direction.lower(), []):
            found.extend((*match, "--jump", "RETURN") for match in _matches(rule, direction, pod, pods, objects))
    return [*found, ("--jump", "DROP")]


def _directions(policy: Mapping[str, Any]) -> Sequence[str]:
    types: Sequence[str] = policy.get("policyTypes", ["Ingress", *(["Egress"] if "egress" in policy else [])])
    return types


def _matches(
    rule: Mapping[str, Any], direction: str, pod: Member, pods: Sequence[Member], objects: Objects
) -> Iterator[tuple[str, ...]]:
    side, other = ("--destination", "to") if direction == "Egress" else ("--source", "from")
    check_fields(rule, {other, "ports"}, f"a rule for {direction}")
    peers = (
        [(side, address) for peer in rule.get(other, []) for address in _addresses(peer, pod, pods, objects)]
        if rule.get(other)
        else [()]
    )
    ports = [_port(each, pod, direction) for each in rule["ports"]] if rule.get("ports") else [()]
    yield from ((*peer, *port) for peer in peers for port in ports)


def _addresses(peer: Mapping[str, Any], pod: Member, pods: Sequence[Member], objects: Objects) -> list[str]:
    check_fields(peer, {"ipBlock", "podSelector", "namespaceSelector"}, "a peer")
    if "ipBlock" in peer:
        return [str(each) for each in _without(peer["ipBlock"]["cidr"], peer["ipBlock"].get("except", []))]
    return [
        f"{each.address}/32"
        for each in pods
        if selects(peer.get("podSelector", {}), each.labels)
        and (
            selects(peer["namespaceSelector"], objects.namespace_labels(each.namespace))
            if "namespaceSelector" in peer
            else each.namespace == pod.namespace
        )
    ]


def _without(block: str, exceptions: Sequence[str]) -> list[ipaddress.IPv4Network]:
    if ":" in block:
        return []  # pods have IPv4 addresses alone
    networks = [ipaddress.IPv4Network(block)]
    for exception in map(ipaddress.IPv4Network, exceptions):
        networks = [
            part
            for each in networks
            for part in (each.address_exclude(exception) if exception.subnet_of(each) else [each])
        ]
    return sorted(networks)


def _port(port: Mapping[str, Any], pod: Member, direction: str) -> tuple[str, ...]:
    check_fields(port, {"protocol", "port", "endPort"}, "a port of a policy")
    protocol = port.get("protocol", "TCP").lower()
    if "port" not in port:
        return ("--protocol", protocol)
    number = port["port"]
    if isinstance(number, str):
        if direction == "Egress":
            raise KubernetesError(f"a rule for Egress has the port {number!r}: no names are known there")
        number = pod.ports[number]
    return ("--protocol", protocol, "--dport", f"{number}:{port['endPort']}" if "endPort" in port else str(number))
