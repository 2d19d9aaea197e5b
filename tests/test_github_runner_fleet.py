"""GitHub runners reach the builders that they are bound to, and nothing of the cache; risky ones are warned of."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk.assertions import Match, Template
from cdk_nag import AwsSolutionsChecks
from cloudsnorkel import cdk_github_runners as engine

from cdk_buildkit import (
    Architecture,
    BuilderCluster,
    BuilderImages,
    CacheScope,
    CodeBuildRunners,
    Ec2BuilderFleet,
    Ec2Runners,
    EksBuilderFleet,
    ExistingCluster,
    FargateRunners,
    GithubRunnerFleet,
    PinnedTool,
    RunnerTools,
)
from cdk_buildkit.acknowledgements import acknowledge
from cdk_buildkit.runner_group_warning import WARNING_ID

SUMS = {Architecture.ARM64: "a" * 64, Architecture.X86_64: "b" * 64}
TOOLS = RunnerTools(
    buildx=PinnedTool(version="v1.2.3", url="https://example.com/{version}/buildx-{architecture}", sha256=SUMS),
    ecr_credential_helper=PinnedTool(version="4.5.6", url="https://example.com/{version}/{architecture}", sha256=SUMS),
)
REGISTRY = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
IRELAND = cdk.Environment(account="111122223333", region="eu-west-1")
OREGON = cdk.Environment(account="111122223333", region="us-west-2")


@pytest.fixture(scope="module")
def deployment(
    make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet]
) -> tuple[cdk.App, Mapping[str, Template]]:
    """One app with runners of every kind on one fleet of builders, synthesized with the rules of cdk-nag on."""
    app = make_app()
    builders = make_fleet(stack=cdk.Stack(app, "builders"), architectures=[Architecture.X86_64])
    acknowledge(builders.vpc, "VPC7", "A VPC of tests, as no deployment has it.")
    peer = ec2.Vpc.from_vpc_attributes(
        builders,
        "Peer",
        vpc_id="vpc-01234567",
        vpc_cidr_block="10.1.0.0/16",
        availability_zones=["eu-west-1a"],
        private_subnet_ids=["subnet-01234567"],
        private_subnet_route_table_ids=["rtb-01234567"],
    )
    kinds: dict[str, dict[str, Any]] = {
        "ec2": {"compute": Ec2Runners(spot=True), "idle_timeout": cdk.Duration.minutes(7)},
        "fargate": {"compute": FargateRunners(spot=True), "runner_group": "protected"},
        "codebuild": {
            "compute": CodeBuildRunners(architecture=Architecture.ARM64, compute_type="large"),
            "vpc": peer,
            "peers": [ec2.Peer.ipv4("10.1.0.0/16")],
            "enterprise_server": "github.example.com",
            "webhook_access": engine.LambdaAccess.api_gateway(allowed_vpc=peer, allowed_ips=["10.2.0.0/16"]),
            "setup_access": engine.LambdaAccess.no_access(),
        },
    }
    for kind, props in kinds.items():
        stack = cdk.Stack(app, kind)
        repository = ecr.Repository.from_repository_attributes(
            stack, "App", repository_arn="arn:aws:ecr:eu-west-1:111122223333:repository/app", repository_name="app"
        )
        GithubRunnerFleet(
            stack,
            "Runners",
            builders=builders,
            tools=TOOLS,
            labels=["buildkit", kind],
            repositories=[repository],
            registries=[REGISTRY],
            **props,
        )
    # After the runners, on purpose: what it reads is known at the end alone.
    nightly = iam.Role(cdk.Stack(app, "nightly"), "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    builders.caches[Architecture.X86_64].grant_read(CacheScope("main"), nightly)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    assembly = app.synth()
    return app, {stack.stack_name: Template.from_json(stack.template) for stack in assembly.stacks}


@pytest.fixture(params=["ec2", "fargate", "codebuild"])
def kind(request: pytest.FixtureRequest) -> str:
    """What runners run on."""
    return str(request.param)


@pytest.fixture
def template(deployment: tuple[cdk.App, Mapping[str, Template]], kind: str) -> Template:
    """The template of the kind's runners."""
    return deployment[1][kind]


def role_statements(template: Template) -> Iterator[dict[str, Any]]:
    """Return what the roles that jobs have may do."""
    for name, policy in template.find_resources("AWS::IAM::Policy").items():
        if name.startswith(("RunnersOnDemand", "RunnersSpot")) and "ExecutionRole" not in name:
            yield from policy["Properties"]["PolicyDocument"]["Statement"]


def actions(statement: Mapping[str, Any]) -> list[str]:
    return [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


def metadata(app: cdk.App, kind: str, entry_type: str) -> list[str]:
    written = json.loads((Path(app.outdir) / f"{kind}.metadata.json").read_text())
    return [entry["data"] for entries in written.values() for entry in entries if entry["type"] == entry_type]


def test_a_job_can_neither_read_nor_write_the_cache(template: Template) -> None:
    statements = list(role_statements(template))

    assert statements
    of_storage = {each for statement in statements for each in actions(statement) if each[:3] in ("*", "s3:", "kms")}
    assert of_storage <= {"s3:GetEncryptionConfiguration"}  # Session Manager's, of the engine
    assert "CacheBucket" not in json.dumps(template.to_json())


def test_a_job_fetches_the_client_certificate_and_wakes_the_builders(
    template: Template, readable: Callable[[Any], Any]
) -> None:
    granted = {
        each: readable(statement["Resource"]) for statement in role_statements(template) for each in actions(statement)
    }

    assert granted["secretsmanager:GetSecretValue"] == "<FleetCertificatesClient>"
    functions = ("<FleetCacheNamesFunction.Arn>", "<FleetWakerFunction.Arn>")
    assert set(granted["lambda:InvokeFunction"]) == {name for each in functions for name in (each, f"{each}:*")}
    assert granted["cloudformation:DescribeStacks"].endswith(":stack/builders/*")


def test_a_job_pushes_to_the_given_repositories_alone(template: Template) -> None:
    resources = [each["Resource"] for each in role_statements(template) if "ecr:PutImage" in actions(each)]

    assert resources
    assert set(resources) == {"arn:aws:ecr:eu-west-1:111122223333:repository/app"}


def test_builders_let_in_the_runners_of_their_vpc_by_group(
    deployment: tuple[cdk.App, Mapping[str, Template]], readable: Callable[[Any], Any]
) -> None:
    for each in ("ec2", "fargate"):
        (rule,) = deployment[1][each].find_resources("AWS::EC2::SecurityGroupIngress").values()
        properties = readable(rule["Properties"])
        assert properties["SourceSecurityGroupId"] == "<RunnersSecurityGroup.GroupId>"
        assert "LoadBalancerSecurityGroup" in properties["GroupId"]
        assert (properties["FromPort"], properties["ToPort"]) == (1234, 1234)


def test_builders_let_in_the_runners_of_another_vpc_by_the_given_peer(
    deployment: tuple[cdk.App, Mapping[str, Template]],
) -> None:
    deployment[1]["builders"].has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {"SecurityGroupIngress": Match.array_with([Match.object_like({"CidrIp": "10.1.0.0/16", "FromPort": 1234})])},
    )
    deployment[1]["codebuild"].resource_count_is("AWS::EC2::SecurityGroupIngress", 0)


def test_what_builds_an_image_is_not_let_in_to_the_builders(template: Template, kind: str) -> None:
    types = {"ec2": "AWS::ImageBuilder::InfrastructureConfiguration"}
    images = [
        json.dumps(each["Properties"])
        for name, each in template.find_resources(types.get(kind, "AWS::CodeBuild::Project")).items()
        if name.startswith("RunnersImage")
    ]

    assert images
    assert not any("RunnersSecurityGroup" in each for each in images)


def test_an_image_gets_both_tools_for_its_architecture_by_their_sums(template: Template, kind: str) -> None:
    built = json.dumps(template.to_json())
    name, sum_of_it = ("arm64", "a" * 64) if kind == "codebuild" else ("amd64", "b" * 64)

    assert (
        f"install-tool.sh https://example.com/v1.2.3/buildx-{name} {sum_of_it} "
        "/usr/local/lib/docker/cli-plugins/docker-buildx" in built
    )
    assert (
        f"install-tool.sh https://example.com/4.5.6/{name} {sum_of_it} "
        "/usr/local/bin/docker-credential-ecr-login" in built
    )
    assert "configure-docker.sh" in built
    assert REGISTRY in built


def test_a_runner_calls_the_hooks_around_every_job_and_tells_them_of_the_builders(template: Template) -> None:
    built = json.dumps(template.to_json())

    for stage in ("started", "completed"):
        # The engine's own hook calls this one, where it is executable.
        assert f"ACTIONS_RUNNER_HOOK_JOB_{stage.upper()}=/home/runner/job-{stage}-hook.sh >> /home/runner/.env" in built
        assert f"chmod +x '/home/runner/job-{stage}-hook-user.sh'" in built
    assert "echo 'CDK_BUILDKIT_STACK=builders' >> /home/runner/.env" in built
    assert "echo 'CDK_BUILDKIT_TIMEOUT=10' >> /home/runner/.env" in built
    assert "CDK_BUILDKIT_REGION" not in built  # it is not known, and the runner's own
    assert "bash /opt/install-client.sh" in built
    assert "Ubuntu Linux 24.04" in built  # whose Python is new enough for the tool


def test_a_runner_tells_a_job_the_region_and_the_architectures_where_they_are_given(
    make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet]
) -> None:
    app = make_app()
    builders = make_fleet(stack=cdk.Stack(app, "builders", env=IRELAND))
    stack = cdk.Stack(app, "runners", env=IRELAND)
    timeout = cdk.Duration.seconds(90)
    GithubRunnerFleet(
        stack,
        "Runners",
        builders=builders,
        tools=TOOLS,
        builder_architectures=[Architecture.ARM64],
        builder_timeout=timeout,
    )

    built = json.dumps(Template.from_stack(stack).to_json())

    for each in ("REGION=eu-west-1", "ARCHITECTURES=arm64", "TIMEOUT=1.5"):
        assert f"echo 'CDK_BUILDKIT_{each}' >> /home/runner/.env" in built


def test_builders_whose_stack_has_no_name_yet_are_refused(
    make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet]
) -> None:
    parent = cdk.Stack(make_app(), "parent", env=IRELAND)
    builders = make_fleet(stack=cdk.NestedStack(parent, "Nested"), architectures=[Architecture.X86_64])

    with pytest.raises(ValueError, match="got builders in parent/Nested, whose name is known at deployment alone"):
        GithubRunnerFleet(parent, "Runners", builders=builders, tools=TOOLS, vpc=builders.vpc)


def test_an_architecture_that_the_builders_have_not_is_refused(builders: Ec2BuilderFleet) -> None:
    stack = cdk.Stack(cdk.App.of(builders), "no-builders", env=IRELAND)

    with pytest.raises(ValueError, match=r"that their builders have \(x86_64\); got arm64: leave"):
        GithubRunnerFleet(stack, "Runners", builders=builders, tools=TOOLS, builder_architectures=[Architecture.ARM64])


def test_runners_ask_for_spot_capacity_first_and_fall_back(
    deployment: tuple[cdk.App, Mapping[str, Template]],
) -> None:
    ids = {kind: "".join(deployment[1][kind].to_json()["Resources"]) for kind in ("ec2", "fargate", "codebuild")}

    assert all("RunnersSpot" in ids[kind] for kind in ("ec2", "fargate"))
    assert "RunnersSpot" not in ids["codebuild"]
    assert all("RunnersOnDemand" in each for each in ids.values())


def test_an_enterprise_server_is_in_the_secret_and_reached_from_the_vpc(
    deployment: tuple[cdk.App, Mapping[str, Template]],
) -> None:
    template = deployment[1]["codebuild"]

    (secret,) = (
        each["Properties"]["GenerateSecretString"]["SecretStringTemplate"]
        for name, each in template.find_resources("AWS::SecretsManager::Secret").items()
        if name.startswith("RunnersSecretsGitHub") and "PrivateKey" not in name
    )
    assert json.loads(secret) == {"domain": "github.example.com", "appId": "", "personalAuthToken": ""}
    functions = template.find_resources("AWS::Lambda::Function", {"Properties": {"VpcConfig": Match.any_value()}})
    assert any("WebhookHandler" in name for name in functions)


def test_runners_without_a_group_are_warned_of_with_what_a_pull_request_would_do(
    deployment: tuple[cdk.App, Mapping[str, Template]],
) -> None:
    (warning,) = metadata(deployment[0], "ec2", "aws:cdk:warning")

    assert "`runs-on: [self-hosted, buildkit, ec2]`" in warning
    assert "build on the fleet main.buildkit.internal, and leave layers in its cache scope main" in warning
    assert "read by later builds of that fleet, nightly/Role" in warning
    assert "Give runner_group" in warning


def test_runners_in_a_group_are_not_warned_of(deployment: tuple[cdk.App, Mapping[str, Template]]) -> None:
    assert metadata(deployment[0], "fargate", "aws:cdk:warning") == []


def test_no_finding_about_runners_is_without_an_answer(deployment: tuple[cdk.App, Mapping[str, Template]]) -> None:
    report = json.loads((Path(deployment[0].outdir) / "validation-report.json").read_text())

    findings = [
        (violation["ruleName"], construct["constructPath"])
        for each in report["pluginReports"]
        for violation in each["violations"]
        for construct in violation["violatingConstructs"]
    ]
    assert {rule for rule, _ in findings} == {f"Annotation::{WARNING_ID}"}


@pytest.fixture(scope="module")
def builders(make_app: Callable[[], cdk.App], make_fleet: Callable[..., Ec2BuilderFleet]) -> Ec2BuilderFleet:
    """A fleet in Ireland, never synthesized."""
    return make_fleet(stack=cdk.Stack(make_app(), "builders", env=IRELAND), architectures=[Architecture.X86_64])


def test_runners_in_another_region_are_refused_with_the_reason(builders: Ec2BuilderFleet) -> None:
    stack = cdk.Stack(cdk.App.of(builders), "elsewhere", env=OREGON)

    with pytest.raises(ValueError, match=r"files there.*runners in us-west-2, builders in eu-west-1"):
        GithubRunnerFleet(stack, "Runners", builders=builders, tools=TOOLS)


def test_runners_in_another_vpc_come_with_peers(builders: Ec2BuilderFleet) -> None:
    stack = cdk.Stack(cdk.App.of(builders), "other-vpc", env=IRELAND)
    vpc = ec2.Vpc(stack, "Vpc", restrict_default_security_group=False)

    with pytest.raises(ValueError, match="got another VPC and 0 peers: give the VPC's block as a peer"):
        GithubRunnerFleet(stack, "Runners", builders=builders, tools=TOOLS, vpc=vpc)


def test_runners_beside_pods_without_a_load_balancer_are_refused(builders: Ec2BuilderFleet) -> None:
    stack = cdk.Stack(cdk.App.of(builders), "pods", env=IRELAND)
    existing = ExistingCluster(name="platform", security_group_id="sg-01234567")
    image = f"example@sha256:{'a' * 64}"
    pods = EksBuilderFleet(
        stack,
        "Pods",
        cluster=BuilderCluster(stack, "Cluster", vpc=builders.vpc, existing=existing),
        zone=route53.PrivateHostedZone(stack, "Zone", vpc=builders.vpc, zone_name="pods.internal"),
        record_name="main",
        caches=builders.caches,
        write=builders.write,
        images=BuilderImages(buildkit=image, aws_cli=image),
        client_namespaces=["ci"],
    )

    with pytest.raises(ValueError, match="got a fleet without one: give the EksBuilderFleet load_balancer=True"):
        GithubRunnerFleet(stack, "Runners", builders=pods, tools=TOOLS)


@pytest.mark.parametrize("name", ["", "two words", "a,b", "x" * 65])
def test_a_label_that_a_shell_would_take_apart_is_refused(builders: Ec2BuilderFleet, name: str) -> None:
    stack = cdk.Stack(cdk.App.of(builders), f"label-{len(name)}", env=IRELAND)

    with pytest.raises(ValueError, match="labels and group are 1 to 64 letters"):
        GithubRunnerFleet(stack, "Runners", builders=builders, tools=TOOLS, labels=[name])


def test_a_tool_without_a_sum_for_the_architecture_is_refused_and_says_how_to_find_it(
    builders: Ec2BuilderFleet,
) -> None:
    stack = cdk.Stack(cdk.App.of(builders), "no-sum", env=IRELAND)
    one_sum = PinnedTool(version="v1", url="https://example.com/{architecture}", sha256={Architecture.ARM64: "a" * 64})
    tools = RunnerTools(buildx=one_sum, ecr_credential_helper=TOOLS.ecr_credential_helper)

    with pytest.raises(ValueError, match=r"got none of buildx: .* `curl -fsSL https://example.com/amd64 \| sha256sum`"):
        GithubRunnerFleet(stack, "Runners", builders=builders, tools=tools)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Ec2Runners(instance_type="large"), "got 'large': write family and size"),
        (lambda: FargateRunners(cpu=1024, memory=cdk.Size.mebibytes(512)), "got 1024 with 512 MiB"),
        (lambda: FargateRunners(storage=cdk.Size.gibibytes(20)), "21 to 200 GiB of storage; got 20"),
        (lambda: CodeBuildRunners(compute_type="huge"), "got 'huge': take one of them"),
        (lambda: PinnedTool(version="v1", url="http://x/{architecture}", sha256=SUMS), "begins with https://"),
        (lambda: PinnedTool(version="v1", url="https://u@x/{architecture}", sha256=SUMS), "no user's name"),
        (
            lambda: PinnedTool(version="v1", url="https://x/{architecture}", sha256={Architecture.ARM64: "A"}),
            "64 hexadecimal digits; got 'A': look at its release",
        ),
    ],
)
def test_what_there_is_not_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
