"""What the settings of runners must be to each other, to their builders and to the other runners."""

import re
from collections.abc import Iterator, Mapping

from cdk_buildkit.instance_types import instance_type_architecture
from cdk_buildkit.runner_compute import DEFAULT_INSTANCE_TYPES, FARGATE_MEMORY, FARGATE_STORAGE_GIB
from cdk_buildkit.runner_tools import BUILDX_URL, ECR_CREDENTIAL_HELPER_URL, how_to_find_sum
from stacks.config.problems import KeyPath, Problem, listing, quote, refused, suggestion
from stacks.config.rules import vpc_problems
from stacks.config.runner_settings import AccessConfig, RunnerConfig, RunnerToolsConfig
from stacks.config.settings import FleetConfig, NetworkConfig

_URLS = {"buildx": BUILDX_URL, "ecr_credential_helper": ECR_CREDENTIAL_HELPER_URL}


def runner_problems(
    runners: Mapping[str, RunnerConfig],
    tools: RunnerToolsConfig,
    network: NetworkConfig,
    builders: Mapping[str, FleetConfig],
) -> Iterator[Problem]:
    """Check each fleet of runners, and what the images of all of them get."""
    yield from _tool_problems(runners, tools)
    for name, runner in runners.items():
        path = ("runners", name)
        yield from _builder_problems(path, runner, builders)
        yield from _size_problems(path, runner)
        yield from _access_problems((*path, "webhook"), runner.webhook)
        yield from _access_problems((*path, "setup"), runner.setup)
        if runner.webhook.access == "none":
            yield refused(
                (*path, "webhook", "access"), quote("none"), "url, gateway, vpc", "GitHub must reach it: take one"
            )
        yield from _vpc_problems(path, runner, network)
    yield from _label_problems(runners)


def _tool_problems(runners: Mapping[str, RunnerConfig], tools: RunnerToolsConfig) -> Iterator[Problem]:
    architectures = sorted({runner.architecture for runner in runners.values()})
    for name, url in _URLS.items():
        tool = getattr(tools, name)
        for architecture in architectures:
            if not tool or architecture not in tool.sha256:
                version = tool.version if tool else "<version>"
                program = (tool.url if tool else url).replace("{architecture}", architecture.oci_name)
                yield refused(
                    ("runner_tools", name, *(("sha256", architecture) if tool else ())),
                    "nothing",
                    "a version and a SHA-256 for every architecture of runners, for each image gets it pinned",
                    how_to_find_sum(program.replace("{version}", version)),
                )
                break


def _builder_problems(path: KeyPath, runner: RunnerConfig, builders: Mapping[str, FleetConfig]) -> Iterator[Problem]:
    fleet = builders.get(runner.builder)
    if not fleet:
        yield refused(
            (*path, "builder"),
            quote(runner.builder),
            f"the name of a fleet of builders ({listing(list(builders))})",
            suggestion(runner.builder, list(builders), "choose one of them, for runners build on one fleet alone"),
        )
    elif fleet.compute == "eks" and not fleet.kubernetes.load_balancer:
        yield refused(
            (*path, "builder"),
            quote(runner.builder),
            "a fleet that clients in the VPC reach",
            f"set builders.{runner.builder}.kubernetes.load_balancer = true",
        )
    for architecture in runner.builder_architectures:
        if fleet and architecture not in fleet.architectures:
            yield refused(
                (*path, "builder_architectures"),
                quote(architecture),
                f"architectures of builders.{runner.builder} ({listing(fleet.architectures)})",
                "remove it, or give the fleet of builders that architecture",
            )


def _size_problems(path: KeyPath, runner: RunnerConfig) -> Iterator[Problem]:
    if runner.spot and runner.provider == "codebuild":
        yield refused((*path, "spot"), "true", "false on codebuild, which has no spot capacity", "remove it")
    actual = instance_type_architecture(runner.instance_type) if runner.instance_type else None
    if runner.instance_type and actual is not runner.architecture:
        yield refused(
            (*path, "instance_type"),
            f"{quote(runner.instance_type)}, which looks like {actual}",
            f"{runner.architecture} types",
            f"take for example {DEFAULT_INSTANCE_TYPES[runner.architecture]}, or set architecture",
        )
    if runner.provider != "fargate":
        return
    sizes = list(map(str, FARGATE_MEMORY[runner.cpu]))
    if str(runner.memory_mib) not in sizes:
        allowed = listing(sizes) if len(sizes) <= 8 else f"{sizes[0]}, {sizes[1]}, ... {sizes[-1]}"  # noqa: PLR2004
        yield refused(
            (*path, "memory_mib"), runner.memory_mib, f"with {runner.cpu} units of cpu {allowed}", "change one of them"
        )
    _, most = FARGATE_STORAGE_GIB
    if runner.storage_gib > most:
        yield refused((*path, "storage_gib"), runner.storage_gib, f"at most {most} on fargate", "lower it")


def _access_problems(path: KeyPath, config: AccessConfig) -> Iterator[Problem]:
    limited = config.access in ("gateway", "vpc")
    if limited and not config.cidrs:
        yield refused(
            (*path, "cidrs"),
            "nothing",
            f"the blocks that may call it, where access is {config.access}",
            'add them; GitHub\'s own are what `curl https://api.github.com/meta` lists under "hooks"',
        )
    elif config.cidrs and not limited:
        yield refused(
            (*path, "cidrs"),
            "a list",
            f"none where access is {config.access}",
            "remove it, or take gateway or vpc",
        )


def _vpc_problems(path: KeyPath, runner: RunnerConfig, network: NetworkConfig) -> Iterator[Problem]:
    if not runner.vpc:
        if runner.peers:
            yield refused(
                (*path, "peers"), "a list", "none for runners in the builders' VPC, who are let in", "remove it"
            )
        return
    yield from vpc_problems((*path, "vpc"), runner.vpc)
    if network.vpc:
        here, there = (_region(each.availability_zones[0]) for each in (network.vpc, runner.vpc))
        if here != there:
            yield refused(
                (*path, "vpc", "availability_zones"),
                there,
                f"zones of {here}, the builders' region, for every build sends its files there",
                "run the runners there, or deploy builders in their region",
            )


def _region(zone: str) -> str:
    return re.split(r"(?<=-[0-9])", zone, maxsplit=1)[0]


def _label_problems(runners: Mapping[str, RunnerConfig]) -> Iterator[Problem]:
    for name, runner in runners.items():
        for other_name, other in runners.items():
            if other_name != name and _as_compared(runner) <= _as_compared(other):
                yield refused(
                    ("runners", name, "labels"),
                    listing(runner.labels),
                    f"a label that {other_name} has not, or a job for {other_name} starts a runner here too, on the "
                    f"builders {runner.builder}",
                    f"add for example {name}",
                )


def _as_compared(runner: RunnerConfig) -> set[str]:
    return {label.casefold() for label in runner.labels}  # GitHub does not tell cases apart
