"""Read the configuration, define the stacks, synthesize."""

import sys
from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk

from cdk_buildkit import BuilderImages, CacheScope, Ec2BuilderFleet, EksBuilderFleet
from stacks.builders import BuildersStack
from stacks.cache import CacheStack
from stacks.cluster import ClusterStack
from stacks.config import Config, ConfigError, architectures_in_use, load_config
from stacks.eks_builders import EksBuildersStack
from stacks.github_actions import GithubActionsStack
from stacks.github_provider import GithubProviderStack
from stacks.network import NetworkStack
from stacks.observability import ObservabilityStack
from stacks.release import ReleaseStack
from stacks.runner_scale_set import RunnerScaleSetStack
from stacks.runners import RunnersStack


def define_stacks(app: cdk.App, config: Config) -> None:
    """Put every stack that the configuration asks for into the app."""
    deployment = config.deployment
    network = NetworkStack(
        app, f"{deployment.name}-network", config=config.network, description="Network of the BuildKit builders"
    )
    fleets = config.builders
    cache = CacheStack(
        app,
        f"{deployment.name}-cache",
        config=config.cache,
        architectures=config.architectures,
        scopes=[CacheScope(fleet.cache.write) for fleet in fleets.values()],
        longest_build=config.longest_build,
        description="Layer cache of the BuildKit builders",
    )
    # A topic that is given is of no stack here: who names it has a policy on it that lets CloudWatch publish.
    alarm_topic = (
        None
        if config.observability.alarm_topic_arn
        else ObservabilityStack(
            app, f"{deployment.name}-observability", description="Alarm topic of the BuildKit builders"
        ).alarm_topic
    )
    builders: dict[str, Ec2BuilderFleet | EksBuilderFleet] = {}
    if on_ec2 := config.fleets_on("ec2"):
        release = ReleaseStack(
            app,
            f"{deployment.name}-release",
            config=config.buildkit,
            observability=config.observability,
            alarm_topic=alarm_topic,
            architectures=architectures_in_use(on_ec2),
            description="BuildKit for the builders to boot from",
        )
        for name, fleet in on_ec2.items():
            builders[name] = BuildersStack(
                app,
                f"{deployment.name}-builders-{name}",
                name=name,
                config=fleet,
                releases=release.releases,
                observability=config.observability,
                alarm_topic=alarm_topic,
                vpc=network.vpc,
                zone=network.zone,
                caches=cache.buckets,
                description=f"BuildKit builders of the fleet {name}",
            ).fleet
    if on_eks := config.fleets_on("eks"):
        cluster = ClusterStack(
            app,
            f"{deployment.name}-cluster",
            config=config.kubernetes,
            vpc=network.vpc,
            has_runners=bool(config.runner_scale_sets),
            description="Cluster of the BuildKit builders",
        )
        on_pods = {}
        for name, fleet in on_eks.items():
            builders[name] = on_pods[name] = EksBuildersStack(
                app,
                f"{deployment.name}-builders-{name}",
                name=name,
                config=fleet,
                images=BuilderImages(
                    buildkit=config.kubernetes.buildkit_image, aws_cli=config.kubernetes.aws_cli_image
                ),
                cluster=cluster.cluster,
                observability=config.observability,
                alarm_topic=alarm_topic,
                keda=cluster.keda,
                zone=network.zone,
                caches=cache.buckets,
                description=f"BuildKit builders of the fleet {name}",
            ).fleet
        for name, scale_set in config.runner_scale_sets.items():
            RunnerScaleSetStack(
                app,
                f"{deployment.name}-runner-scale-set-{name}",
                name=name,
                config=scale_set,
                builders=on_pods[scale_set.builder],
                controller=cluster.runner_controller,
                release=cluster.runner_release,
                description=f"GitHub runners {name} as pods, for the BuildKit builders {scale_set.builder}",
            )
    for name, runners in config.runners.items():
        RunnersStack(
            app,
            f"{deployment.name}-runners-{name}",
            config=runners,
            tools=config.runner_tools,
            builders=builders[runners.builder],
            vpc=network.add_peer(name, runners.vpc) if runners.vpc else None,
            description=f"GitHub runners {name}, for the BuildKit builders {runners.builder}",
        )
    define_github_actions(app, config, builders)
    for key, value in deployment.tags.items():
        cdk.Tags.of(app).add(key, value)


def define_github_actions(
    app: cdk.App, config: Config, builders: Mapping[str, Ec2BuilderFleet | EksBuilderFleet]
) -> None:
    """Put the roles for jobs of GitHub Actions into the app, and the providers that are not there yet."""
    deployment = config.deployment
    roles = config.github_actions
    issuers = sorted({role.issuer for role in roles.values() if not role.oidc_provider_arn})
    providers = (
        GithubProviderStack(
            app, f"{deployment.name}-github-provider", issuers=issuers, description="Who issues the tokens of GitHub"
        ).providers
        if issuers
        else {}
    )
    for name, role in roles.items():
        GithubActionsStack(
            app,
            f"{deployment.name}-github-actions-{name}",
            config=role,
            builders=builders[role.builder],
            provider=providers.get(role.issuer),
            longest_build=config.builders[role.builder].longest_build,
            description=f"GitHub Actions {name}, for the BuildKit builders {role.builder}",
        )


def main() -> None:
    """Synthesize the stacks of the configuration that the context key `config` names."""
    # Traces would carry the path of jsii's temporary directory into the output, another one each time.
    app = cdk.App(stack_traces=False, context={"aws:cdk:disable-creation-stack-traces": True})
    path = Path(app.node.try_get_context("config") or "builders.toml")
    try:
        config = load_config(path)
    except ConfigError as error:
        sys.exit(str(error))
    app.node.set_context("@aws-cdk/core:bootstrapQualifier", config.deployment.bootstrap_qualifier)
    if boundary := config.deployment.permissions_boundary:
        kind = "arn" if boundary.startswith("arn:") else "name"
        app.node.set_context("@aws-cdk/core:permissionsBoundary", {kind: boundary})
    define_stacks(app, config)
    app.synth()


if __name__ == "__main__":
    main()
