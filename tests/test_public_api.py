"""The public names of cdk_buildkit and what they take, pinned: a change here is a change for whoever imports them."""

import inspect
from enum import Enum
from typing import Any

import pytest

import cdk_buildkit

PUBLIC = {
    "BuildxDriver": [
        (
            "(scope: Construct, id: str, *, cluster: BuilderCluster, namespace: str, group: str, nodes: str, "
            "caches: Mapping[Architecture, CacheBucket], image: str, resources: PodResources | None = None, "
            "volume_size: Size | None = None, storage_class: bool = False, max_builders: int = 8, timeout: "
            "timedelta = timedelta(seconds=600))"
        ),
        "grant_create(role: IRole) -> Grant",
        "grant_principal",
    ],
    "KedaOperator": ["(scope: Construct, id: str, *, cluster: BuilderCluster, release: KedaRelease | None = None)"],
    "KedaRelease": [
        (
            "(*, version: str = '2.20.2', chart_repository: str = 'https://kedacore.github.io/charts', "
            "image_registry: str | None = None, operator_digest: str | None = None, metrics_server_digest: str | "
            "None = None)"
        ),
        "tag(digest: str | None) -> str",
    ],
    "PodScaling": [
        (
            "(scope: Construct, id: str, *, cluster: BuilderCluster, namespace: str, stateful_set: str, capacity:"
            " BuilderCapacity, scaling: BuilderScaling, fleet: str, architecture: Architecture)"
        )
    ],
    "PodWaker": [
        (
            "(scope: Construct, id: str, *, fleet: str, capacities: Mapping[Architecture, BuilderCapacity], "
            "scaling: BuilderScaling)"
        ),
        "grant_wake(grantee: IGrantable) -> Grant",
    ],
    "AlarmTopic": ["(scope: Construct, id: str)"],
    "Architecture": [
        "ARM64 = 'arm64'",
        "X86_64 = 'x86_64'",
        "construct_id",
        "kubernetes_name",
        "oci_name",
        "platform",
        "port",
    ],
    "BuildKitRelease": [
        (
            "(*, version: str = 'v0.31.2', url: str = 'https://github.com/moby/buildkit/releases/download/{version}/"
            "buildkit-{version}.linux-{architecture}.tar.gz', sha256: Mapping[Architecture, str] = <factory>)"
        ),
        "archive_url(architecture: Architecture) -> str",
    ],
    "BuilderCapacity": [
        (
            "(*, min_capacity: int = 1, max_capacity: int = 8, instance_types: Sequence[str] | None = None, "
            "spot: bool = False, ami_id: str | None = None)"
        ),
        "instance_types_for(architecture: Architecture) -> tuple[str, ...]",
    ],
    "BuilderCertificates": [
        (
            "(scope: Construct, id: str, *, domain_name: str, server_life: Duration | None = None, "
            "client_life: Duration | None = None, generation: int = 1, encryption_key: IKey | None = None)"
        ),
        "check_instance_lifetime(max_instance_lifetime: Duration) -> None",
        "grant_connect(grantee: IGrantable) -> Grant",
        "grant_serve(grantee: IGrantable) -> Grant",
        "longest_instance_lifetime",
    ],
    "BuilderObservability": [
        ("(scope: Construct, id: str, *, fleet: Ec2BuilderFleet | EksBuilderFleet, alarm_topic: ITopic | None = None)")
    ],
    "FunctionAlarm": [
        (
            "(scope: Construct, id: str, *, function: HandlerFunction, words: str, section: str, "
            "topic: ITopic | None = None)"
        )
    ],
    "BuilderScaling": [
        (
            "(*, target_builds_per_builder: float = 3.0, max_builds: int = 4, "
            "idle_timeout: timedelta = timedelta(seconds=900), warm_pool: WarmPool | None = None, "
            "schedules: Sequence[CapacitySchedule] = (), on_demand_base_capacity: int = 0, "
            "on_demand_percentage: int = 0, on_demand_fallback: bool = True, max_parallelism: int | None = None, "
            "step_memory: Size | None = None, step_cpus: float | None = None)"
        )
    ],
    "BuilderWaker": [
        (
            "(scope: Construct, id: str, *, groups: Mapping[Architecture, AutoScalingGroup], "
            "fallback_groups: Mapping[Architecture, AutoScalingGroup] | None = None, scaling: BuilderScaling)"
        ),
        "grant_wake(grantee: IGrantable) -> Grant",
    ],
    "CacheBucket": [
        (
            "(scope: Construct, id: str, *, scopes: Sequence[CacheScope], expiration: CacheExpiration | None = None, "
            "encryption_key: IKey | None = None, removal_policy: RemovalPolicy | None = None, "
            "bucket: IBucket | None = None)"
        ),
        "grant_read(scope: CacheScope, grantee: IGrantable) -> Grant",
        "grant_read_manifests(scope: CacheScope, grantee: IGrantable) -> Grant",
        "grant_read_write(scope: CacheScope, grantee: IGrantable) -> Grant",
        "readers(scope: CacheScope) -> tuple[IPrincipal, ...]",
    ],
    "CacheExpiration": [
        "(*, blob_days: int = 30, manifest_days: int = 21, longest_build: timedelta = timedelta(seconds=3600))"
    ],
    "CacheNames": [
        (
            "(scope: Construct, id: str, *, caches: Mapping[Architecture, CacheBucket], write: CacheScope, "
            "read: Sequence[CacheScope] = ())"
        ),
        "grant_ask(grantee: IGrantable) -> Grant",
    ],
    "CacheOptions": ["(cache_from: tuple[str, ...], cache_to: tuple[str, ...])", "arguments"],
    "CacheScope": ["(name: str)", "blobs_prefix", "manifests_prefix", "prefix"],
    "CapacitySchedule": [
        ("(*, cron: str, time_zone: str = 'UTC', min_capacity: int | None = None, max_capacity: int | None = None)")
    ],
    "Ec2BuilderFleet": [
        (
            "(scope: Construct, id: str, *, vpc: IVpc, zone: IPrivateHostedZone, record_name: str, "
            "caches: Mapping[Architecture, CacheBucket], write: CacheScope, read: Sequence[CacheScope] = (), "
            "certificates: BuilderCertificates | None = None, "
            "capacities: Mapping[Architecture, BuilderCapacity] | None = None, "
            "scaling: BuilderScaling | None = None, "
            "longest_build: timedelta = timedelta(seconds=3600), max_instance_lifetime: Duration = <Duration>, "
            "store_volume: StoreVolume | None = None, releases: ReleaseBucket | None = None, "
            "prove_boot: bool = True, log_retention: RetentionDays = <RetentionDays.ONE_MONTH: 'ONE_MONTH'>)"
        ),
        "connections",
        "grant_connect(grantee: IGrantable) -> Grant",
        "grant_principal",
        "grant_session(grantee: IGrantable) -> Grant",
        "grant_wake(grantee: IGrantable) -> Grant",
    ],
    "ReleaseBucket": [
        (
            "(scope: Construct, id: str, *, release: BuildKitRelease | None = None, "
            "architectures: Sequence[Architecture] = (<Architecture.ARM64: 'arm64'>, <Architecture.X86_64: 'x86_64'>))"
        ),
        "archive_uri(architecture: Architecture) -> str",
        "grant_read(grantee: IGrantable) -> Grant",
    ],
    "StoreVolume": [
        "(*, size: Size = <Size>, iops: int = 6000, throughput: int = 500)",
        "as_block_device(device_name: str) -> BlockDevice",
    ],
    "WarmPool": ["(*, min_size: int = 0, max_prepared_capacity: int | None = None, reuse_on_scale_in: bool = True)"],
    "BuilderCluster": [
        (
            "(scope: Construct, id: str, *, vpc: IVpc, version: str = '1.36', admin_principals: Sequence[str] = "
            "(), public_access_cidrs: Sequence[str] = (), existing: ExistingCluster | None = None)"
        ),
        "apply(scope: Construct, id: str, manifests: KubernetesManifest) -> KubernetesManifest",
        "install(scope: Construct, id: str, chart: Any) -> HelmChart",
    ],
    "BuilderImages": ["(*, buildkit: str, aws_cli: str)"],
    "EksBuilderFleet": [
        (
            "(scope: Construct, id: str, *, cluster: BuilderCluster, zone: IPrivateHostedZone, record_name: str, "
            "caches: Mapping[Architecture, CacheBucket], write: CacheScope, images: BuilderImages, keda: "
            "KedaOperator | None = None, read: Sequence[CacheScope] = (), namespace: str | None = None, "
            "client_namespaces: Sequence[str] = (), load_balancer: bool = False, egress: Sequence[str] = (), "
            "certificates: BuilderCertificates | None = None, capacities: Mapping[Architecture, BuilderCapacity] "
            "| None = None, scaling: BuilderScaling | None = None, instance_families: Sequence[str] = (), resources: "
            "PodResources | None = None, store: PodStore = <PodStore.VOLUME: 'volume'>, store_volume: StoreVolume "
            "| None = None, longest_build: timedelta = timedelta(seconds=3600), max_node_lifetime: Duration = "
            "<Duration>, user_namespaces: bool = False)"
        ),
        "connections",
        "grant_connect(grantee: IGrantable) -> Grant",
        "grant_principal",
        "grant_wake(grantee: IGrantable) -> Grant",
        "services",
    ],
    "GithubActionsRole": [
        (
            "(scope: Construct, id: str, *, builders: Ec2BuilderFleet | EksBuilderFleet, provider: IOidcProvider, "
            "subjects: GithubSubjects, issuer: str = 'token.actions.githubusercontent.com', repositories: "
            "Sequence[IRepository] = (), longest_build: timedelta = timedelta(seconds=3600))"
        ),
    ],
    "GithubSubjects": [
        (
            "(*, repositories: Sequence[str], branches: Sequence[str] = (), environments: Sequence[str] = (), "
            "pull_requests: bool = False)"
        ),
        "subjects",
    ],
    "GithubRunnerFleet": [
        (
            "(scope: Construct, id: str, *, builders: Ec2BuilderFleet | EksBuilderFleet, tools: RunnerTools,"
            " labels: Sequence[str] = ('buildkit',), runner_group: str | None = None, pull_requests: bool = "
            "False, compute: Ec2Runners | FargateRunners | CodeBuildRunners | None = None, vpc: IVpc | None "
            "= None, peers: Sequence[IPeer] = (), repositories: Sequence[IRepository] = (), registries: "
            "Sequence[str] = (), builder_architectures: Sequence[Architecture] = (), builder_timeout: Duration"
            " = <Duration>, idle_timeout: Duration = <Duration>, webhook_access: LambdaAccess | None = "
            "None, setup_access: LambdaAccess | None = None, enterprise_server: str | None = None)"
        ),
    ],
    "Ec2Runners": [
        "(*, instance_type: str = 'm7i.large', storage: Size = <Size>, spot: bool = False)",
        "architecture",
    ],
    "FargateRunners": [
        (
            "(*, architecture: Architecture = <Architecture.X86_64: 'x86_64'>, cpu: int = 1024, memory: Size"
            " = <Size>, storage: Size = <Size>, spot: bool = False)"
        ),
    ],
    "CodeBuildRunners": [
        (
            "(*, architecture: Architecture = <Architecture.X86_64: 'x86_64'>, compute_type: str = 'small', "
            "timeout: Duration = <Duration>)"
        ),
    ],
    "PinnedTool": [
        "(*, version: str, url: str, sha256: Mapping[Architecture, str])",
        "program_url(architecture: Architecture) -> str",
    ],
    "RunnerController": [
        ("(scope: Construct, id: str, *, cluster: BuilderCluster, release: RunnerControllerRelease | None = None)"),
    ],
    "RunnerControllerRelease": [
        (
            "(*, version: str = '0.14.2', chart_registry: str = "
            "'oci://ghcr.io/actions/actions-runner-controller-charts')"
        ),
        "chart_url(chart: str) -> str",
    ],
    "RunnerScaleSet": [
        (
            "(scope: Construct, id: str, *, builders: EksBuilderFleet, github_url: str, image: str, "
            "controller: RunnerController | None = None, release: RunnerControllerRelease | None = None, "
            "name: str = 'buildkit', namespace: str | None = None, github_secret: str = 'github', "
            "runner_group: str | None = None, pull_requests: bool = False, architecture: Architecture = "
            "<Architecture.X86_64: 'x86_64'>, min_runners: int = 0, max_runners: int = 10, cpu: float = 0.5,"
            " memory: Size = <Size>, repositories: Sequence[IRepository] = (), builder_architectures: "
            "Sequence[Architecture] = (), builder_timeout: Duration = <Duration>)"
        ),
    ],
    "RunnerTools": [
        "(*, buildx: PinnedTool, ecr_credential_helper: PinnedTool)",
        "check(architecture: Architecture) -> None",
    ],
    "ExistingCluster": ["(*, name: str, security_group_id: str, auto_mode: bool = True)"],
    "PodResources": ["(*, cpu: float = 7.0, memory: Size = <Size>)", "cpu_quantity", "memory_quantity"],
    "PodStore": ["VOLUME = 'volume'", "EPHEMERAL = 'ephemeral'"],
    "cache_name": ["(project: str, branch: str) -> str"],
    "cache_options": [
        (
            "(scope: CacheScope, name: str, *, fallback_names: Sequence[str] = (), "
            "read_scopes: Sequence[CacheScope] = (), source: tuple[CacheScope, str] | None = None, "
            "mode: str = 'max') -> CacheOptions"
        )
    ],
    "expiration_margin_days": ["(longest_build: timedelta) -> int"],
}


def test_these_names_are_public_and_no_other() -> None:
    assert sorted(cdk_buildkit.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_takes_what_it_took(name: str) -> None:
    assert shape(getattr(cdk_buildkit, name)) == PUBLIC[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_is_for(name: str) -> None:
    assert inspect.getdoc(getattr(cdk_buildkit, name))


def shape(thing: Any) -> list[str]:  # noqa: ANN401 - a class or a function
    """How the thing is called, and the public members of its own."""
    if not inspect.isclass(thing):
        return [call(inspect.signature(thing))]
    members = [
        member if isinstance(value, property) else member + call(without_self(inspect.signature(value)))
        for member, value in sorted(vars(thing).items())
        if not member.startswith("_") and (isinstance(value, property) or inspect.isfunction(value))
    ]
    if issubclass(thing, Enum):
        return [f"{each.name} = {each.value!r}" for each in thing] + members
    signature = without_self(inspect.signature(thing.__init__))
    return [call(signature.replace(return_annotation=inspect.Signature.empty)), *members]


def without_self(signature: inspect.Signature) -> inspect.Signature:
    """Return a method's signature as its callers see it."""
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def call(signature: inspect.Signature) -> str:
    """Write a signature with the types' bare names."""
    parameters = list(signature.parameters.values())
    parts, keyword_only = [], False
    for each in parameters:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        default = "" if each.default is inspect.Parameter.empty else f" = {default_of(each.default)}"
        parts.append(f"{each.name}: {bare(each.annotation)}{default}")
    answer = signature.return_annotation
    return f"({', '.join(parts)})" + ("" if answer is inspect.Signature.empty else f" -> {bare(answer)}")


def bare(annotation: Any) -> str:  # noqa: ANN401 - a type
    """Write a type without its modules."""
    text = (
        annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else str(annotation)
    )
    words = text.replace("[", " [ ").replace("]", " ] ").replace(",", " , ").split()
    joined = " ".join(word.rpartition(".")[2] if set(word) != {"."} else word for word in words)
    return joined.replace(" [ ", "[").replace(" ]", "]").replace(" ,", ",")


def default_of(value: Any) -> str:  # noqa: ANN401 - any default
    """Write a default, with the type's name alone where the value has no text of its own."""
    text = repr(value).removeprefix("datetime.")
    return f"<{type(value).__name__}>" if " object at 0x" in text else text
