"""A fleet of self-hosted GitHub runners beside one fleet of builders: it may build there, and nowhere else."""

import json
from collections.abc import Sequence
from typing import Any

from aws_cdk import Annotations, Duration, Stack, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_secretsmanager as secretsmanager
from cloudsnorkel import cdk_github_runners as engine
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_fleet import BuilderFleet
from cdk_buildkit.runner_compute import Ec2Runners, RunnerCompute
from cdk_buildkit.runner_findings import acknowledge_engine, acknowledge_engine_policies
from cdk_buildkit.runner_group_warning import warn_without_group
from cdk_buildkit.runner_hooks import hook_components
from cdk_buildkit.runner_providers import RunnerPlacement, add_providers
from cdk_buildkit.runner_tools import RunnerTools, tools_component


class GithubRunnerFleet(Construct):
    """Ephemeral GitHub runners, one for each job, that build on one fleet of builders.

    The engine is cloudsnorkel.cdk-github-runners: webhook, setup page, images, launches. What is here binds it to the
    builders: their VPC and region, their connections, the client certificate, waking, registries. Before a job's first
    step a hook connects it: its steps have the builder, and the cache options of its branch, in their environment. A
    runner's role has no right on the cache; the builders' own role reads and writes it.

    Args:
        builders: The fleet that they build on. Its stack has the outputs that `cdk-buildkit connect` reads
            (docs/client.md), and a name that is known at synth.
        tools: The programs that their image gets beside the engine's.
        labels: The labels that a job must ask for, all of them, beside `self-hosted`.
        runner_group: Their runner group in GitHub, which must exist. Default: none, and a warning at synth unless
            `pull_requests` says that it is meant so and nobody else reads what they build.
        pull_requests: They are for the jobs of pull requests: whoever opens one may build here.
        compute: What they run on. Default: `Ec2Runners()`.
        vpc: Where they run, in its private subnets with egress. Default: the builders' VPC.
        peers: Who the builders admit for these runners, where those are in another VPC: its block or a security group.
        repositories: The ECR repositories that jobs may push to and pull from.
        registries: The hosts of registries for which docker asks the ECR credential helper, so that no job logs in,
            written out: `111122223333.dkr.ecr.eu-west-1.amazonaws.com`. Default: none.
        builder_architectures: The builders that a job connects to, and wakes. Default: those of every architecture.
        builder_timeout: How long a job waits for them before it fails.
        idle_timeout: How long a runner waits for its job before it ends.
        webhook_access: How GitHub reaches the webhook. Default: a function URL, with GitHub's signature checked.
        setup_access: How the operator reaches the setup page. Default: a function URL, with a token checked.
        enterprise_server: The domain of a GitHub Enterprise Server. What talks to it then runs in `vpc`. Default:
            github.com.

    Raises:
        ValueError: They would be in another region than the builders, in another VPC without peers, or beside builders
            that no client in a VPC reaches; the builders have none of an architecture, or their stack's name is a
            token; a label or the group is no name; a tool has no sum for the runners' architecture.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        builders: BuilderFleet,
        tools: RunnerTools,
        labels: Sequence[str] = ("buildkit",),
        runner_group: str | None = None,
        pull_requests: bool = False,
        compute: RunnerCompute | None = None,
        vpc: ec2.IVpc | None = None,
        peers: Sequence[ec2.IPeer] = (),
        repositories: Sequence[ecr.IRepository] = (),
        registries: Sequence[str] = (),
        builder_architectures: Sequence[Architecture] = (),
        builder_timeout: Duration = Duration.minutes(10),  # noqa: B008 - an immutable value
        idle_timeout: Duration = Duration.minutes(5),  # noqa: B008 - an immutable value
        webhook_access: engine.LambdaAccess | None = None,
        setup_access: engine.LambdaAccess | None = None,
        enterprise_server: str | None = None,
    ) -> None:
        super().__init__(scope, id)
        compute, vpc = compute or Ec2Runners(), vpc or builders.vpc
        check_names(labels, runner_group)
        tools.check(compute.architecture)
        _check_place(Stack.of(self), vpc, builders, peers)
        _check_architectures(builders, builder_architectures)
        self.builders = builders
        self.labels = tuple(labels)
        self.pull_requests = pull_requests

        others = {each.node.path for each in Stack.of(self).node.children}
        security_group = ec2.SecurityGroup(self, "SecurityGroup", vpc=vpc, description="GitHub runners")
        self.providers = add_providers(
            self,
            compute,
            RunnerPlacement(vpc=vpc, security_group=security_group, labels=labels, group=runner_group),
            [
                tools_component(tools, architecture=compute.architecture, registries=registries),
                *hook_components(self, builders=builders, architectures=builder_architectures, timeout=builder_timeout),
            ],
        )
        self.provider: Any = (
            engine.CompositeProvider.fallback(self, "Provider", list(self.providers))
            if len(self.providers) > 1
            else self.providers[0]
        )
        self.runners = engine.GitHubRunners(
            self,
            "Runners",
            providers=[self.provider],
            idle_timeout=idle_timeout,
            webhook_access=webhook_access,
            setup_access=setup_access,
            vpc=vpc if enterprise_server else None,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
            if enterprise_server
            else None,
        )
        if enterprise_server:
            self._set_domain(enterprise_server)
        self._bind(security_group, peers, repositories)
        acknowledge_engine(self)
        # What it shares between fleets is beside them in the stack.
        for each in Stack.of(self).node.children:
            if each.node.path not in others:
                acknowledge_engine_policies(each)
        if not runner_group:
            runs_on = f"[{', '.join(('self-hosted', *self.labels))}]"
            warn_without_group(self, builders=builders, runs_on=runs_on, pull_requests=pull_requests)

    def _bind(
        self, security_group: ec2.SecurityGroup, peers: Sequence[ec2.IPeer], repositories: Sequence[ecr.IRepository]
    ) -> None:
        if peers:
            for peer in peers:
                self.builders.connections.allow_default_port_from(peer, "GitHub runners in another VPC")
        else:
            # From the runners' side, or the rule would be in the builders' stack, which knows nothing of runners.
            security_group.connections.allow_to_default_port(self.builders, "GitHub runners")
            Annotations.of(security_group).acknowledge_warning(
                "@aws-cdk/aws-ec2:ipv4IgnoreEgressRule",
                "They may go anywhere; it is the builders' rule that is wanted.",
            )
        for provider in self.providers:
            self.builders.grant_connect(provider)
            self.builders.grant_wake(provider)
            for repository in repositories:
                repository.grant_pull_push(provider)

    def _set_domain(self, domain: str) -> None:
        # The setup page begins with what the secret says, and writes there what the operator chooses.
        secret = self.runners.secrets.github.node.default_child
        assert isinstance(secret, secretsmanager.CfnSecret)  # noqa: S101 - for the type checker
        generated = Stack.of(self).resolve(secret.generate_secret_string)
        template = json.loads(generated["secretStringTemplate"]) | {"domain": domain}
        secret.add_property_override("GenerateSecretString.SecretStringTemplate", json.dumps(template))


def check_names(labels: Sequence[str], runner_group: str | None) -> None:
    """Require labels and a group that GitHub has and that the engine's scripts pass on as they are.

    Raises:
        ValueError: There is no label, or one has other characters.
    """
    names = [*labels, *([runner_group] if runner_group is not None else [])]
    if not labels or not all(is_runner_name(each) for each in names):
        raise ValueError(
            "runners have at least one label, and labels and group are 1 to 64 letters, digits, dots, hyphens and "
            f"underscores; got {names}: rename them"
        )


def is_runner_name(name: str) -> bool:
    """Tell whether a label or a group has characters alone that no shell takes apart."""
    return 0 < len(name) <= 64 and all(each.isascii() and (each.isalnum() or each in "._-") for each in name)  # noqa: PLR2004


def _check_place(stack: Stack, vpc: ec2.IVpc, builders: BuilderFleet, peers: Sequence[ec2.IPeer]) -> None:
    region = Stack.of(builders).region
    for other in (stack.region, vpc.env.region):
        if not Token.is_unresolved(region) and not Token.is_unresolved(other) and other != region:
            raise ValueError(
                "runners are in the region of their builders, for every build sends its files there, and the builders' "
                f"address and certificate are there alone; got runners in {other}, builders in {region}: make a fleet "
                f"of builders in {other}, or run them in {region}"
            )
    if not builders.connections.security_groups:
        raise ValueError(
            "runners reach builders that are pods through a load balancer; got a fleet without one: give the "
            "EksBuilderFleet load_balancer=True"
        )
    elsewhere = vpc.node.path != builders.vpc.node.path
    if elsewhere != bool(peers):
        raise ValueError(
            "runners in another VPC than their builders' come with the peers that the builders admit, and others "
            f"without; got {'another' if elsewhere else 'the same'} VPC and {len(peers)} peers: "
            + ("give the VPC's block as a peer" if elsewhere else "leave the peers out")
        )


def _check_architectures(builders: BuilderFleet, architectures: Sequence[Architecture]) -> None:
    missing = [each for each in architectures if each not in builders.caches]
    if missing:
        raise ValueError(
            f"jobs connect to architectures that their builders have ({', '.join(builders.caches)}); got "
            f"{', '.join(missing)}: leave builder_architectures out for all"
        )
