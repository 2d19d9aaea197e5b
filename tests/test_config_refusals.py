"""Every refusal says the key's path, what was given, what is allowed and how to mend it."""

from datetime import timedelta
from pathlib import Path

import pytest

from buildkit_ops.cache_expiration import expiration_margin_days
from stacks.config import ConfigError, load_config

MARGIN = expiration_margin_days(timedelta(hours=1))
FLEET = "[builders.main]\n"
ARM64_FLEET = f'{FLEET}architectures = ["arm64"]\n'
VPC = """
id = "vpc-0123456789abcdef0"
cidr = "10.20.0.0/16"
availability_zones = ["eu-west-1a", "eu-west-1b"]
private_subnet_ids = ["subnet-01234567", "subnet-89abcdef"]
"""

DIGEST = "0123456789abcdef" * 4
KUBERNETES = (
    f'[kubernetes]\nbuildkit_image = "moby/buildkit@sha256:{DIGEST}"\naws_cli_image = "aws-cli@sha256:{DIGEST}"\n'
)
EKS_FLEET = f'{FLEET}compute = "eks"\n'
REACHED = 'kubernetes = { client_namespaces = ["ci"] }\n'
CLUSTER = '[kubernetes.cluster]\nname = "platform"\nsecurity_group_id = "sg-01234567"\n'
EKS = f"{KUBERNETES}{EKS_FLEET}"
SUMS = f'{{ x86_64 = "{DIGEST}" }}'
TOOLS = (
    f'[runner_tools]\nbuildx = {{ version = "v0.36.1", sha256 = {SUMS} }}\n'
    f'ecr_credential_helper = {{ version = "0.12.0", sha256 = {SUMS} }}\n'
)
SCALE_SETS = (
    f'{EKS}[runner_scale_sets.default]\nbuilder = "main"\ngithub_url = "https://github.com/example"\n'
    f'image = "runner@sha256:{DIGEST}"\n'
)
ONE_SUBNET = VPC.replace(', "subnet-89abcdef"', "")
RUNNERS = f'{TOOLS}{FLEET}[runners.default]\nbuilder = "main"\n'

ROLE = f'{FLEET}[github_actions.default]\nbuilder = "main"\nrepositories = ["org/app"]\n'
BRANCH = 'branches = ["main"]\n'
PROVIDER = "arn:aws:iam::111122223333:oidc-provider"
PULL_REQUESTS = '[github_actions.pr]\nbuilder = "main"\nrepositories = ["org/app"]\npull_requests = true\n'

REFUSALS = {
    "a role of no builders": (
        f"{ROLE}{BRANCH}".replace('builder = "main"', 'builder = "mian"'),
        (
            'github_actions.default.builder: got "mian", allowed the name of a fleet of builders (main): did you mean '
            "main?"
        ),
    ),
    "a role for no repository": (
        f"{ROLE}{BRANCH}".replace('["org/app"]', "[]"),
        (
            "github_actions.default.repositories: got an empty list, allowed at least one entry: add one, or leave the "
            "key out where it has a default"
        ),
    ),
    "a role for every repository of an organization": (
        f"{ROLE}{BRANCH}".replace("org/app", "org/*"),
        (
            'github_actions.default.repositories[0]: got "org/*", allowed a repository as owner/name, or as '
            "owner@id/name@id where its subjects are immutable, without a wildcard: write it as its page in GitHub "
            "does, for example org/app"
        ),
    ),
    "a repository twice": (
        f"{ROLE}{BRANCH}".replace('["org/app"]', '["org/app", "Org/App"]'),
        (
            "github_actions.default.repositories: got org/app, Org/App, allowed one of the two, for GitHub does not "
            "tell them apart and a policy does: keep the one that GitHub shows"
        ),
    ),
    "a role for all jobs": (
        ROLE,
        (
            "github_actions.default: got no jobs, allowed branches, environments or pull_requests: add for example "
            'branches = ["main"]'
        ),
    ),
    "branches by a wildcard": (
        f'{ROLE}branches = ["release/*"]\n',
        (
            'github_actions.default.branches[0]: got "release/*", allowed a branch\'s name, of letters, digits and '
            "._/@#+=-, without a wildcard: name each branch that is protected; whoever may push could make one that a "
            "wildcard matches"
        ),
    ),
    "a branch as a ref": (
        f'{ROLE}branches = ["refs/heads/main"]\n',
        (
            'github_actions.default.branches[0]: got "refs/heads/main", allowed a branch\'s name, of letters, digits '
            "and ._/@#+=-, without a wildcard: write it without refs/heads/, and no tag: main"
        ),
    ),
    "an environment with a colon": (
        f'{ROLE}environments = ["production:eu"]\n',
        (
            'github_actions.default.environments[0]: got "production:eu", allowed an environment\'s name, 1 to 255 '
            "letters, digits, spaces and ._/-, without a wildcard: rename it, in GitHub too"
        ),
    ),
    "pull requests and a branch in one role": (
        f"{ROLE}{BRANCH}pull_requests = true\n",
        (
            "github_actions.default.pull_requests: got true beside branches, allowed one of them, for what pull "
            "requests leave in a cache protected branches must not read: make a role for each, on a fleet of builders "
            "for each"
        ),
    ),
    "pull requests on the fleet of a branch": (
        f"{ROLE}{BRANCH}{PULL_REQUESTS}",
        (
            'github_actions.pr.builder: got "main", on which github_actions.default too build, allowed a fleet for '
            "pull requests alone, for the others would take what those leave in its cache for theirs: make a fleet of "
            "builders for pull requests"
        ),
    ),
    "pull requests on the fleet of runners": (
        f"{RUNNERS}{PULL_REQUESTS}",
        (
            'github_actions.pr.builder: got "main", on which runners.default too build, allowed a fleet for pull '
            "requests alone, for the others would take what those leave in its cache for theirs: make a fleet of "
            "builders for pull requests"
        ),
    ),
    "pull requests on the fleet of runners that are pods": (
        (
            f'{EKS}{REACHED}[runner_scale_sets.pods]\nbuilder = "main"\ngithub_url = "https://github.com/example"\n'
            f'image = "ghcr.io/actions/actions-runner@sha256:{DIGEST}"\n{PULL_REQUESTS}'
        ),
        (
            'github_actions.pr.builder: got "main", on which runner_scale_sets.pods too build, allowed a fleet for '
            "pull requests alone, for the others would take what those leave in its cache for theirs: make a fleet of "
            "builders for pull requests"
        ),
    ),
    "pull requests on a fleet that another reads": (
        f'{FLEET}[builders.nightly]\ncache = {{ read = ["main"] }}\n{PULL_REQUESTS}',
        (
            'github_actions.pr.builder: got "main", whose cache scope main is read by nightly, allowed a fleet whose '
            "scope nobody else reads, for pull requests write it: make a fleet of builders for pull requests"
        ),
    ),
    "a provider of another issuer": (
        f'{ROLE}{BRANCH}oidc_provider_arn = "{PROVIDER}/github.example.com"\n',
        (
            f'github_actions.default.oidc_provider_arn: got "{PROVIDER}/github.example.com", allowed the provider for '
            "token.actions.githubusercontent.com: set issuer too, or take the ARN of that provider"
        ),
    ),
    "a provider given and made": (
        (
            f'{ROLE}{BRANCH}oidc_provider_arn = "{PROVIDER}/token.actions.githubusercontent.com"\n'
            f'[github_actions.other]\nbuilder = "main"\nrepositories = ["org/other"]\n{BRANCH}'
        ),
        (
            "github_actions.other.oidc_provider_arn: got nothing, allowed the same as github_actions.default has, for "
            "an account has one provider for an issuer: give it in both, or in neither when there is none yet"
        ),
    ),
    "an issuer with its scheme": (
        f'{ROLE}{BRANCH}issuer = "https://github.example.com"\n',
        (
            'github_actions.default.issuer: got "https://github.example.com", allowed a domain, and a path where it '
            "has one: write it without https://, for example github.example.com/_services/token"
        ),
    ),
    "more subjects than a policy holds": (
        f"{ROLE}{BRANCH}".replace('["org/app"]', str([f"org/{'a' * 90}{number}" for number in range(16)])),
        (
            "github_actions.default.repositories: got subjects of 1974 characters, allowed 1600, for a trust policy "
            "has room for no more: make a further role for some of them"
        ),
    ),
    "pods that run for builders on ec2": (
        SCALE_SETS.replace('compute = "eks"', 'compute = "ec2"'),
        (
            'runner_scale_sets.default.builder: got "main", allowed the name of a fleet of builders on eks (there is '
            "none): choose one of them; runners for builders on ec2 are made by [runners]"
        ),
    ),
    "a role for pull requests beside runners that are pods": (
        f"{SCALE_SETS}{PULL_REQUESTS}",
        (
            'github_actions.pr.builder: got "main", on which runner_scale_sets.default too build, allowed a fleet for '
            "pull requests alone, for the others would take what those leave in its cache for theirs: make a fleet of "
            "builders for pull requests"
        ),
    ),
    "more waiting runners than runners": (
        f"{SCALE_SETS}min_runners = 20\n",
        (
            "runner_scale_sets.default.min_runners: got 20, allowed at most max_runners, 10: lower it, or raise "
            "max_runners"
        ),
    ),
    "runners in the builders' namespace": (
        f'{SCALE_SETS}namespace = "buildkit-main"\n',
        (
            'runner_scale_sets.default.namespace: got "buildkit-main", allowed a namespace of its own, for its pods '
            "share a role: take another than that of builders.main"
        ),
    ),
    "an address that is none of GitHub's": (
        SCALE_SETS.replace("https://github.com/example", "github.com/example"),
        (
            'runner_scale_sets.default.github_url: got "github.com/example", allowed the URL of an organization, a '
            "repository or an enterprise: write it without anything behind, for example https://github.com/example"
        ),
    ),
    "runner scale sets that are no table": (
        f"runner_scale_sets = 3\n{FLEET}",
        "runner_scale_sets: got 3, allowed tables of runners: add a table [runner_scale_sets.default]",
    ),
    "roles that are no table": (
        f"github_actions = 3\n{FLEET}",
        "github_actions: got 3, allowed tables of roles: add a table [github_actions.default]",
    ),
    "runners without buildx": (
        (
            f'{FLEET}[runner_tools]\necr_credential_helper = {{ version = "0.12.0", sha256 = {SUMS} }}\n'
            '[runners.default]\nbuilder = "main"\n'
        ),
        (
            "runner_tools.buildx: got nothing, allowed a version and a SHA-256 for every architecture of runners, for "
            "each image gets it pinned: look at its release, and take the sum that `curl -fsSL "
            "https://github.com/docker/buildx/releases/download/<version>/buildx-<version>.linux-amd64 | sha256sum` "
            "prints"
        ),
    ),
    "runners of an architecture without a sum": (
        TOOLS.replace(f'"0.12.0", sha256 = {SUMS}', f'"0.12.0", sha256 = {{ arm64 = "{DIGEST}" }}')
        + f'{FLEET}[runners.default]\nbuilder = "main"\n',
        (
            "runner_tools.ecr_credential_helper.sha256.x86_64: got nothing, allowed a version and a SHA-256 for every "
            "architecture of runners, for each image gets it pinned: look at its release, and take the sum that `curl "
            "-fsSL https://amazon-ecr-credential-helper-releases.s3.us-east-2.amazonaws.com/0.12.0/linux-amd64/"
            "docker-credential-ecr-login | sha256sum` prints"
        ),
    ),
    "runners of no builders": (
        f'{TOOLS}{FLEET}[runners.default]\nbuilder = "mian"\n',
        ('runners.default.builder: got "mian", allowed the name of a fleet of builders (main): did you mean main?'),
    ),
    "runners whose jobs would wait for builders that never come": (
        f'{RUNNERS}builder_architectures = ["arm64"]\n'.replace(FLEET, f'{FLEET}architectures = ["x86_64"]\n'),
        (
            'runners.default.builder_architectures: got "arm64", allowed architectures of builders.main (x86_64): '
            "remove it, or give the fleet of builders that architecture"
        ),
    ),
    "runners that name no builders": (
        f"{TOOLS}{FLEET}[runners.default]\n",
        "runners.default.builder: got nothing, allowed a value, for it has no default here: add it",
    ),
    "runners beside pods without a load balancer": (
        f'{TOOLS}{EKS}{REACHED}[runners.default]\nbuilder = "main"\n',
        (
            'runners.default.builder: got "main", allowed a fleet that clients in the VPC reach: set '
            "builders.main.kubernetes.load_balancer = true"
        ),
    ),
    "runners in another region": (
        f"[network.vpc]{VPC}{RUNNERS}[runners.default.vpc]{VPC.replace('eu-west-1', 'us-west-2')}",
        (
            "runners.default.vpc.availability_zones: got us-west-2, allowed zones of eu-west-1, the builders' region, "
            "for every build sends its files there: run the runners there, or deploy builders in their region"
        ),
    ),
    "runners in a VPC whose subnets are too few": (
        f"{RUNNERS}[runners.default.vpc]{ONE_SUBNET}",
        (
            "runners.default.vpc.private_subnet_ids: got 1, allowed as many as availability_zones (2): list one subnet "
            "for each zone, in the same order"
        ),
    ),
    "peers for runners in the builders' VPC": (
        f'{RUNNERS}peers = ["10.1.0.0/16"]\n',
        ("runners.default.peers: got a list, allowed none for runners in the builders' VPC, who are let in: remove it"),
    ),
    "a label with a space": (
        f'{RUNNERS}labels = ["build kit"]\n',
        (
            'runners.default.labels[0]: got "build kit", allowed 1 to 64 letters, digits, dots, hyphens and '
            "underscores: rename it, in GitHub too"
        ),
    ),
    "labels that are all another's": (
        f'{RUNNERS}[runners.pr]\nbuilder = "main"\nlabels = ["BuildKit", "pr"]\n',
        (
            "runners.default.labels: got buildkit, allowed a label that pr has not, or a job for pr starts a runner "
            "here too, on the builders main: add for example default"
        ),
    ),
    "runners on what there is not": (
        f'{RUNNERS}provider = "lambda"\n',
        'runners.default.provider: got "lambda", allowed ec2, fargate, codebuild: choose one of them',
    ),
    "spot capacity of CodeBuild": (
        f'{RUNNERS}provider = "codebuild"\nspot = true\n',
        "runners.default.spot: got true, allowed false on codebuild, which has no spot capacity: remove it",
    ),
    "a runner's instance type of another architecture": (
        f'{RUNNERS}instance_type = "m7g.large"\n',
        (
            'runners.default.instance_type: got "m7g.large", which looks like arm64, allowed x86_64 types: take for '
            "example m7i.large, or set architecture"
        ),
    ),
    "memory that Fargate has not": (
        f'{RUNNERS}provider = "fargate"\nmemory_mib = 512\n',
        (
            "runners.default.memory_mib: got 512, allowed with 1024 units of cpu 2048, 3072, 4096, 5120, 6144, 7168, "
            "8192: change one of them"
        ),
    ),
    "a disk that Fargate has not": (
        f'{RUNNERS}provider = "fargate"\nstorage_gib = 300\n',
        "runners.default.storage_gib: got 300, allowed at most 200 on fargate: lower it",
    ),
    "a webhook that nobody calls": (
        f'{RUNNERS}webhook = {{ access = "none" }}\n',
        'runners.default.webhook.access: got "none", allowed url, gateway, vpc: GitHub must reach it: take one',
    ),
    "a gateway for nobody": (
        f'{RUNNERS}setup = {{ access = "gateway" }}\n',
        (
            "runners.default.setup.cidrs: got nothing, allowed the blocks that may call it, where access is gateway: "
            'add them; GitHub\'s own are what `curl https://api.github.com/meta` lists under "hooks"'
        ),
    ),
    "blocks of a function URL": (
        f'{RUNNERS}setup = {{ cidrs = ["198.51.100.0/24"] }}\n',
        (
            "runners.default.setup.cidrs: got a list, allowed none where access is url: remove it, or take gateway or "
            "vpc"
        ),
    ),
    "a repository that is none of ECR": (
        f'{RUNNERS}repositories = ["docker.io/app"]\n',
        (
            'runners.default.repositories[0]: got "docker.io/app", allowed an ECR repository\'s URI, '
            "<account>.dkr.ecr.<region>.amazonaws.com/<name>: write it without https:// and without a tag"
        ),
    ),
    "runners that are no table": (
        f"runners = 3\n{FLEET}",
        "runners: got 3, allowed tables of runners: add a table [runners.default]",
    ),
    "a fleet on EKS without BuildKit's image": (
        f'[kubernetes]\naws_cli_image = "aws-cli@sha256:{DIGEST}"\n{EKS_FLEET}{REACHED}',
        (
            "kubernetes.buildkit_image: got nothing, allowed an image pinned by its digest, <repository>@sha256:<64 "
            "hexadecimal digits>: take the digest that `docker buildx imagetools inspect "
            "docker.io/moby/buildkit:v0.31.2` prints, or your mirror's"
        ),
    ),
    "a fleet on EKS without the AWS CLI's image": (
        f'[kubernetes]\nbuildkit_image = "moby/buildkit@sha256:{DIGEST}"\n{EKS_FLEET}{REACHED}',
        (
            "kubernetes.aws_cli_image: got nothing, allowed an image pinned by its digest, <repository>@sha256:<64 "
            "hexadecimal digits>: take the digest that `docker buildx imagetools inspect "
            "public.ecr.aws/aws-cli/aws-cli:latest` prints, or your mirror's"
        ),
    ),
    "an image by its tag": (
        f'[kubernetes]\nbuildkit_image = "moby/buildkit:v0.31.2"\n{FLEET}',
        (
            'kubernetes.buildkit_image: got "moby/buildkit:v0.31.2", allowed an image pinned by its digest, '
            "<repository>@sha256:<64 hexadecimal digits>: take the digest that `docker buildx imagetools inspect "
            "docker.io/moby/buildkit:v0.31.2` prints, or your mirror's"
        ),
    ),
    "a version of Kubernetes that there is not": (
        f'[kubernetes]\nversion = "1.20"\n{FLEET}',
        'kubernetes.version: got "1.20", allowed 1.36, 1.35, 1.34: choose one of them',
    ),
    "an administrator that is no principal": (
        f'[kubernetes]\nadmin_principals = ["admin"]\n{FLEET}',
        (
            "kubernetes.admin_principals[0]: got \"admin\", allowed a role's or a user's ARN, "
            "arn:aws:iam::<account>:role/<name>: copy it from the console or the command line"
        ),
    ),
    "a cluster that exists in a new VPC": (
        f"{KUBERNETES}{CLUSTER}{EKS_FLEET}{REACHED}",
        (
            "kubernetes.cluster: got a cluster that exists, and a new VPC, allowed one in a VPC that exists too: add "
            "[network.vpc] with the cluster's VPC, or remove the cluster for a new one"
        ),
    ),
    "access to a cluster that exists": (
        f'[network.vpc]{VPC}{KUBERNETES}public_access_cidrs = ["198.51.100.0/24"]\n{CLUSTER}{EKS_FLEET}{REACHED}',
        (
            "kubernetes.public_access_cidrs: got a list, allowed none beside [kubernetes.cluster], whose access is its "
            "owner's: remove it, and set it where the cluster is made"
        ),
    ),
    "pods that nobody reaches": (
        EKS,
        (
            "builders.main.kubernetes: got neither client_namespaces nor load_balancer, allowed one of them or both, "
            "or nobody reaches the builders: name the clients' namespaces, or set load_balancer = true for clients in "
            "the VPC"
        ),
    ),
    "clients in the VPC without a load balancer": (
        f'{EKS}clients = ["10.0.0.0/16"]\n{REACHED}',
        (
            "builders.main.clients: got a list, allowed clients of a load balancer, and there is none: set "
            "kubernetes.load_balancer = true, or remove them"
        ),
    ),
    "a family with a size": (
        f'{EKS}kubernetes = {{ client_namespaces = ["ci"], instance_families = ["c7gd.large"] }}\n',
        (
            'builders.main.kubernetes.instance_families[0]: got "c7gd.large", allowed an instance family for Linux: '
            "write it without a size, for example c7gd"
        ),
    ),
    "families of one architecture alone": (
        f'{EKS}kubernetes = {{ client_namespaces = ["ci"], instance_families = ["c7gd"] }}\n',
        (
            "builders.main.kubernetes.instance_families: got c7gd, allowed at least one of each architecture of the "
            "fleet, arm64, x86_64, and no other: name for example c7gd for arm64, c6id for x86_64"
        ),
    ),
    "an AMI of pods": (
        f'{EKS}{REACHED}ami = {{ arm64 = "ami-01234567" }}\n',
        "builders.main.ami: got an AMI, allowed none where compute is eks: EKS chooses its nodes': remove it",
    ),
    "a warm pool of pods": (
        (
            f'{EKS}{REACHED}instance_types = {{ arm64 = ["c7g.xlarge"], x86_64 = ["c6i.xlarge"] }}\n'
            "scaling = { warm_pool = {} }\n"
        ),
        (
            "builders.main.scaling.warm_pool: got a warm pool, allowed none where compute is eks: it is of EC2 "
            'instances: remove it; kubernetes.store = "volume" keeps the store of a builder that is replaced'
        ),
    ),
    "schedules of pods": (
        f'{EKS}{REACHED}scaling = {{ schedules = [{{ cron = "0 8 * * *", min_capacity = 1 }}] }}\n',
        (
            "builders.main.scaling.schedules: got schedules, allowed none where compute is eks: they are of Auto "
            "Scaling groups: remove them"
        ),
    ),
    "user namespaces on Auto Mode": (
        f'{EKS}kubernetes = {{ client_namespaces = ["ci"], user_namespaces = true }}\n',
        (
            "builders.main.kubernetes.user_namespaces: got true, allowed false on EKS Auto Mode, whose nodes allow no "
            "user namespaces (aws/containers-roadmap#2797): remove it, or give a [kubernetes.cluster] with auto_mode = "
            "false whose nodes allow them"
        ),
    ),
    "nodes that EKS Auto Mode ends before": (
        f"{EKS}{REACHED}max_instance_lifetime_days = 22\n",
        (
            "builders.main.max_instance_lifetime_days: got 22, allowed at most 21, as long as EKS Auto Mode lets a "
            "node live: lower it"
        ),
    ),
    "an odd share of pods on demand": (
        f"{EKS}{REACHED}spot = true\nscaling = {{ on_demand_percentage = 3 }}\n",
        (
            "builders.main.scaling.on_demand_percentage: got 3 above 0, allowed a multiple of a tenth, a quarter or a "
            "third above on_demand_base_capacity 0 where compute is eks, as pods are spread over equal shares: take "
            "for example 20 above 0"
        ),
    ),
    "a namespace that is no name": (
        f'{EKS}kubernetes = {{ client_namespaces = ["CI"] }}\n',
        (
            'builders.main.kubernetes.client_namespaces[0]: got "CI", allowed a namespace\'s name, 1 to 46 lower-case '
            "letters, digits and hyphens, no hyphen at an end: rename it, for example to buildkit-main"
        ),
    ),
    "the node's own services among what steps reach": (
        f'{EKS}kubernetes = {{ load_balancer = true, egress = ["169.254.169.254/32"] }}\n',
        (
            'builders.main.kubernetes.egress[0]: got "169.254.169.254/32", allowed a private IPv4 block outside '
            "169.254.0.0/16, where the node's own services are: take that of the registry or endpoint; the internet is "
            "open anyway"
        ),
    ),
    "a store that there is not": (
        f'{EKS}kubernetes = {{ load_balancer = true, store = "disk" }}\n',
        'builders.main.kubernetes.store: got "disk", allowed volume, ephemeral: choose one of them',
    ),
    "an unknown section": (
        f"[network]\n[cach]\n{FLEET}",
        (
            "cach: got an unknown key, allowed deployment, network, cache, buildkit, kubernetes, observability, "
            "builders, runner_tools, runners, runner_scale_sets, github_actions: did you mean cache?"
        ),
    ),
    "an unknown key with the nearest one": (
        f"{FLEET}min_capactiy = 1\n",
        (
            "builders.main.min_capactiy: got an unknown key, allowed cache, clients, compute, "
            "architectures, instance_types, longest_build, max_instance_lifetime_days, certificates, min_capacity, "
            "max_capacity, spot, scaling, ami, volume, prove_boot, kubernetes: did you mean min_capacity?"
        ),
    ),
    "an unknown key that is near to none": (
        f"{FLEET}volume = {{ colour = 1 }}\n",
        "builders.main.volume.colour: got an unknown key, allowed size_gib, iops, throughput: remove it",
    ),
    "a target above what a builder takes": (
        f"{FLEET}scaling = {{ target_builds_per_builder = 4.5, max_builds = 4 }}\n",
        (
            "builders.main.scaling.target_builds_per_builder: got 4.5, allowed at most max_builds (4), or builders "
            "turn builds away before others come: lower it or raise max_builds"
        ),
    ),
    "a target that is no number": (
        f'{FLEET}scaling = {{ target_builds_per_builder = "2" }}\n',
        ('builders.main.scaling.target_builds_per_builder: got "2", allowed a number: write digits, without quotes'),
    ),
    "a target that is endless": (
        f"{FLEET}scaling = {{ target_builds_per_builder = inf }}\n",
        "builders.main.scaling.target_builds_per_builder: got inf, allowed a number: write digits, without quotes",
    ),
    "an idle timeout of nothing": (
        f"{FLEET}scaling = {{ idle_timeout_minutes = 0 }}\n",
        "builders.main.scaling.idle_timeout_minutes: got 0, allowed 1 to 1440: raise it",
    ),
    "a share on demand without spot": (
        f"{FLEET}scaling = {{ on_demand_percentage = 25 }}\n",
        (
            "builders.main.scaling.on_demand_percentage: got 25, allowed 0 where spot is false: every builder is on "
            "demand then: leave it out, or set spot = true"
        ),
    ),
    "a schedule that changes nothing": (
        f'{FLEET}scaling = {{ schedules = [{{ cron = "0 8 * * *" }}] }}\n',
        (
            'builders.main.scaling.schedules[0]: got "0 8 * * *", allowed a schedule with min_capacity, max_capacity '
            "or both: add what it changes"
        ),
    ),
    "a schedule above the maximum": (
        f'{FLEET}scaling = {{ schedules = [{{ cron = "0 8 * * *", min_capacity = 9 }}] }}\n',
        (
            "builders.main.scaling.schedules[0].min_capacity: got 9, allowed 0 to max_capacity (8): lower it, or raise "
            "max_capacity here or for the fleet"
        ),
    ),
    "a schedule that allows no builder": (
        f'{FLEET}scaling = {{ schedules = [{{ cron = "0 8 * * *", max_capacity = 0 }}] }}\n',
        (
            "builders.main.scaling.schedules[0].max_capacity: got 0, allowed at least 1: raise it; min_capacity = 0 is "
            "what lets builders go"
        ),
    ),
    "a schedule at no time": (
        f'{FLEET}scaling = {{ schedules = [{{ cron = "daily", min_capacity = 1 }}] }}\n',
        (
            'builders.main.scaling.schedules[0].cron: got "daily", allowed five fields of a cron expression: minute, '
            'hour, day of month, month, day of week: write for example "0 8 * * MON-FRI"'
        ),
    ),
    "a schedule in no time zone": (
        f'{FLEET}scaling = {{ schedules = [{{ cron = "0 8 * * *", time_zone = "+02:00", min_capacity = 1 }}] }}\n',
        (
            'builders.main.scaling.schedules[0].time_zone: got "+02:00", allowed a time zone\'s name as IANA has it: '
            'write for example "Europe/Berlin" or "UTC"'
        ),
    ),
    "a warm pool whose stores a stop empties": (
        f'{ARM64_FLEET}instance_types = {{ arm64 = ["c7gd.large", "c7g.large"] }}\nscaling = {{ warm_pool = {{ }} }}\n',
        (
            "builders.main.scaling.warm_pool: got a warm pool with c7gd.large, allowed instance types without local "
            "NVMe, which a stop empties, and the store with it: set instance_types.arm64, for example to c7g.2xlarge"
        ),
    ),
    "a warm pool on spot capacity": (
        f'{ARM64_FLEET}instance_types = {{ arm64 = ["c7g.large"] }}\nspot = true\nscaling = {{ warm_pool = {{ }} }}\n',
        (
            "builders.main.scaling.warm_pool: got a warm pool, allowed none where spot is true: it holds on-demand "
            "builders only: remove it, or set spot = false"
        ),
    ),
    "a section that is no table": ("cache = 1\n" + FLEET, "cache: got 1, allowed a table: give it keys of its own"),
    "a fleet that is no table": (
        "[builders]\nmain = true\n",
        "builders.main: got true, allowed a table: give it keys of its own",
    ),
    "a number where a string is asked": (
        f"[deployment]\nname = 1\n{FLEET}",
        "deployment.name: got 1, allowed a string: put it in quotes",
    ),
    "a string where a number is asked": (
        f'{FLEET}max_capacity = "8"\n',
        'builders.main.max_capacity: got "8", allowed a whole number: write digits, without quotes',
    ),
    "true where a number is asked": (
        f"{FLEET}max_capacity = true\n",
        "builders.main.max_capacity: got true, allowed a whole number: write digits, without quotes",
    ),
    "a fraction where a whole number is asked": (
        f"[cache]\nblob_expiration_days = 30.0\n{FLEET}",
        "cache.blob_expiration_days: got 30.0, allowed a whole number: write digits, without quotes",
    ),
    "a number where true or false is asked": (
        f"{FLEET}spot = 1\n",
        "builders.main.spot: got 1, allowed true or false: write one of the two, without quotes",
    ),
    "a date": (
        f"{FLEET}longest_build = 2026-01-01\n",
        (
            'builders.main.longest_build: got 2026-01-01, allowed "1m" to "1h": write whole hours, minutes and '
            'seconds, like "90s", "15m" or "1h"'
        ),
    ),
    "a string where a list is asked": (
        f'{FLEET}architectures = "arm64"\n',
        'builders.main.architectures: got "arm64", allowed a list: put it in square brackets',
    ),
    "an empty list": (
        f"{FLEET}architectures = []\n",
        (
            "builders.main.architectures: got an empty list, allowed at least one entry: add one, or leave the "
            "key out where it has a default"
        ),
    ),
    "an entry listed twice": (
        f'{FLEET}architectures = ["arm64", "arm64"]\n',
        'builders.main.architectures: got "arm64", allowed each entry once: remove the second one',
    ),
    "an architecture by another name": (
        f'{FLEET}architectures = ["arm64", "amd64"]\n',
        'builders.main.architectures[1]: got "amd64", allowed arm64, x86_64: did you mean arm64?',
    ),
    "a setting for an unknown architecture": (
        f'{FLEET}ami = {{ riscv = "latest" }}\n',
        'builders.main.ami.riscv: got "riscv", allowed arm64, x86_64: choose one of them',
    ),
    "a duration without a unit": (
        f'{FLEET}longest_build = "60"\n',
        (
            'builders.main.longest_build: got "60", allowed "1m" to "1h": write whole hours, minutes and '
            'seconds, like "90s", "15m" or "1h"'
        ),
    ),
    "a duration in days": (
        f'{FLEET}longest_build = "1d"\n',
        (
            'builders.main.longest_build: got "1d", allowed "1m" to "1h": write whole hours, minutes and '
            'seconds, like "90s", "15m" or "1h"'
        ),
    ),
    "a build that is too short to wait for": (
        f'{FLEET}longest_build = "59s"\n',
        'builders.main.longest_build: got "59s", allowed "1m" to "1h": raise it',
    ),
    "a build that the load balancer would cut": (
        f'{FLEET}longest_build = "1h1s"\n',
        (
            'builders.main.longest_build: got "1h1s", allowed "1m" to "1h": lower it, for a target group keeps '
            "no connection longer"
        ),
    ),
    "compute that there is not": (
        f'{FLEET}compute = "ecs"\n',
        'builders.main.compute: got "ecs", allowed ec2, eks: did you mean eks?',
    ),
    "a builder that is never replaced": (
        f"{FLEET}max_instance_lifetime_days = 366\n",
        "builders.main.max_instance_lifetime_days: got 366, allowed 1 to 365: lower it",
    ),
    "a tag's key that a builder could not read in its metadata": (
        f'[deployment.tags]\n"cost/centre" = "x"\n{FLEET}',
        (
            'deployment.tags."cost/centre": got "cost/centre", allowed 1 to 128 ASCII letters, digits and +-=._:@ in a '
            "key: rename it: builders read their tags from the instance metadata"
        ),
    ),
    "a client with public addresses": (
        f'{FLEET}clients = ["8.8.8.0/24"]\n',
        (
            'builders.main.clients[0]: got "8.8.8.0/24", allowed a private IPv4 block or a security group\'s id, sg- '
            "and 8 or 17 hexadecimal digits: builders have no public address: take the clients' private block"
        ),
    ),
    "a client that is neither a block nor a security group": (
        f'{FLEET}clients = ["runners"]\n',
        (
            'builders.main.clients[0]: got "runners", allowed a private IPv4 block or a security group\'s id, sg- '
            'and 8 or 17 hexadecimal digits: write for example "10.0.0.0/16"'
        ),
    ),
    "an instance type of another architecture": (
        f'{FLEET}instance_types = {{ arm64 = ["c7gd.large", "c7i.large"] }}\n',
        (
            'builders.main.instance_types.arm64[1]: got "c7i.large", which looks like x86_64, allowed arm64 '
            "types: move it to x86_64, or take for example c7gd.2xlarge"
        ),
    ),
    "what is no instance type": (
        f'{FLEET}instance_types = {{ x86_64 = ["large"] }}\n',
        (
            'builders.main.instance_types.x86_64[0]: got "large", allowed an instance type for Linux: write '
            "family and size as EC2 does, for example c7gd.2xlarge"
        ),
    ),
    "a minimum over the maximum": (
        f"{FLEET}min_capacity = 9\n",
        "builders.main.min_capacity: got 9, allowed 0 to max_capacity (8): lower it or raise max_capacity",
    ),
    "a negative capacity": (
        f"{FLEET}min_capacity = -1\n",
        "builders.main.min_capacity: got -1, allowed 0 to 1000: raise it",
    ),
    "a number of more digits than Python writes": (
        f"{FLEET}max_capacity = 0x1{'0' * 5000}\n",
        "builders.main.max_capacity: got a huge integer, allowed 0 to 1000: lower it",
    ),
    "a fleet that may have no builder": (
        f"{FLEET}min_capacity = 0\nmax_capacity = 0\n",
        "builders.main.max_capacity: got 0, allowed at least 1: raise it, or remove the fleet",
    ),
    "more operations than the volume's size allows": (
        f"{FLEET}volume = {{ size_gib = 20, iops = 10001 }}\n",
        (
            "builders.main.volume.iops: got 10001, allowed at most 10000, 500 for each GiB of size_gib (20): "
            "lower it or raise size_gib"
        ),
    ),
    "more throughput than the volume's operations allow": (
        f"{FLEET}volume = {{ iops = 3000, throughput = 751 }}\n",
        (
            "builders.main.volume.throughput: got 751, allowed at most 750, a quarter of iops (3000): lower it "
            "or raise iops"
        ),
    ),
    "a volume that is too small": (
        f"{FLEET}volume = {{ size_gib = 19 }}\n",
        "builders.main.volume.size_gib: got 19, allowed 20 to 65536: raise it",
    ),
    "a fleet that reads a scope nobody writes": (
        f'{FLEET}cache = {{ read = ["mian"] }}\n',
        (
            'builders.main.cache.read: got "mian", allowed scopes that a fleet writes (main): correct it, or '
            "add a fleet that writes it"
        ),
    ),
    "two fleets that write one scope": (
        f'{FLEET}[builders.pr]\ncache = {{ write = "main" }}\n',
        (
            'builders.pr.cache.write: got "main", allowed a scope that no other fleet writes, and main writes '
            "this one: write a scope of its own, and list this one under read if it may be trusted"
        ),
    ),
    "builders that outlive their certificate": (
        f"{FLEET}max_instance_lifetime_days = 26\n",
        (
            "builders.main.max_instance_lifetime_days: got 26, allowed at most 25, a third of "
            "certificates.server_life_days (90) less 5 days for a late renewal and a late replacement, or builders "
            "outlive their certificates: lower it or raise certificates.server_life_days"
        ),
    ),
    "a certificate that is valid for too short": (
        f"{FLEET}certificates = {{ client_life_days = 7 }}\n",
        "builders.main.certificates.client_life_days: got 7, allowed 24 to 180: raise it",
    ),
    "a scope that breaks a key prefix": (
        f'{FLEET}cache = {{ write = "a/b" }}\n',
        (
            'builders.main.cache.write: got "a/b", allowed 1 to 32 lower-case letters, digits and hyphens, a '
            "letter first and no hyphen last: rename it, for example to main"
        ),
    ),
    "a fleet's name with capitals": (
        "[builders.Main]\n",
        (
            'builders.Main: got "Main", allowed 1 to 32 lower-case letters, digits and hyphens, a letter first '
            "and no hyphen last: rename it, for example to main"
        ),
    ),
    "a fleet's name over more than a line": (
        '[builders."a\\nb"]\n',
        (
            'builders."a\\nb": got "a\\nb", allowed 1 to 32 lower-case letters, digits and hyphens, a letter '
            "first and no hyphen last: rename it, for example to main"
        ),
    ),
    "a deployment's name that ends in a hyphen": (
        f'[deployment]\nname = "build-"\n{FLEET}',
        (
            'deployment.name: got "build-", allowed 1 to 32 lower-case letters, digits and hyphens, a letter '
            "first and no hyphen last: rename it, for example to main"
        ),
    ),
    "no fleet at all": ("", "builders: got an empty table, allowed at least one fleet: add a table [builders.main]"),
    "ages that break builds": (
        f"[cache]\nblob_expiration_days = 30\nmanifest_expiration_days = {31 - MARGIN}\n{FLEET}",
        (
            f"cache.blob_expiration_days: got 30, allowed at least 31, manifest_expiration_days ({31 - MARGIN}) and "
            f"a margin of {MARGIN} days with builds of up to 1h, or builds fail on a missing blob: raise it to 31 or "
            f"lower manifest_expiration_days to {30 - MARGIN}"
        ),
    ),
    "ages that no manifest's age would mend": (
        f"[cache]\nblob_expiration_days = {MARGIN}\nmanifest_expiration_days = 1\n{FLEET}",
        (
            f"cache.blob_expiration_days: got {MARGIN}, allowed at least {MARGIN + 1}, manifest_expiration_days (1) "
            f"and a margin of {MARGIN} days with builds of up to 1h, or builds fail on a missing blob: raise it to "
            f"{MARGIN + 1}"
        ),
    ),
    "an age of no days": (
        f"[cache]\nmanifest_expiration_days = 0\n{FLEET}",
        "cache.manifest_expiration_days: got 0, allowed 1 to 3650: raise it",
    ),
    "a bucket for only one of the architectures": (
        f'[cache]\nbucket_names = {{ arm64 = "one" }}\n{FLEET}',
        (
            "cache.bucket_names: got none for x86_64, allowed a bucket for every architecture in use, or no "
            "bucket at all: add x86_64 or remove the others"
        ),
    ),
    "one bucket for both architectures": (
        f'[cache]\nbucket_names = {{ arm64 = "one", x86_64 = "one" }}\n{FLEET}',
        (
            "cache.bucket_names: got one bucket twice, allowed a bucket for each architecture, for one would "
            "lose the other's manifests: name another bucket"
        ),
    ),
    "a key's alias": (
        f'[cache]\nkms_key_arn = "arn:aws:kms:eu-west-1:111122223333:alias/cache"\n{FLEET}',
        (
            'cache.kms_key_arn: got "arn:aws:kms:eu-west-1:111122223333:alias/cache", allowed a KMS key\'s ARN, '
            "arn:aws:kms:<region>:<account>:key/<id>: write the key's ARN, no alias"
        ),
    ),
    "another release with the default one's sums": (
        '[buildkit]\nversion = "v0.31.3"\n[builders.main]\narchitectures = ["arm64"]\n',
        (
            "buildkit.sha256.arm64: got the sum of v0.31.2, allowed the sum of v0.31.3: take it from "
            "`sha256sum` of that version's archive"
        ),
    ),
    "one sum for both architectures": (
        f"[buildkit.sha256]\narm64 = '{'0' * 64}'\nx86_64 = '{'0' * 64}'\n{FLEET}",
        "buildkit.sha256: got one sum twice, allowed a sum for each architecture: take each from its own archive",
    ),
    "a sum that is cut off": (
        f'[buildkit.sha256]\narm64 = "abc"\n{FLEET}',
        (
            'buildkit.sha256.arm64: got "abc", allowed 64 lower-case hexadecimal digits: take it from '
            "`sha256sum` of the archive"
        ),
    ),
    "a release without its v": (
        f'[buildkit]\nversion = "0.31.2"\n{FLEET}',
        'buildkit.version: got "0.31.2", allowed a release\'s tag: write it as v0.31.2',
    ),
    "a release's URL without the architecture": (
        f'[buildkit]\nurl = "https://example.com/{{version}}/buildkit.tar.gz"\n{FLEET}',
        (
            'buildkit.url: got "https://example.com/{version}/buildkit.tar.gz", allowed an https URL with '
            "{architecture} and, where wanted, {version} in it: put {architecture} where the archive's name "
            "says amd64 or arm64"
        ),
    ),
    "a release's URL with another placeholder": (
        f'[buildkit]\nurl = "https://example.com/{{os}}-{{architecture}}"\n{FLEET}',
        (
            'buildkit.url: got "https://example.com/{os}-{architecture}", allowed an https URL with '
            "{architecture} and, where wanted, {version} in it: put {architecture} where the archive's name "
            "says amd64 or arm64"
        ),
    ),
    "a release's URL with a password": (
        f'[buildkit]\nurl = "https://me:SECRET@example.com/{{architecture}}"\n{FLEET}',
        (
            'buildkit.url: got "https://...@example.com/{architecture}", allowed an https URL without a user\'s name, '
            "for the template shows it to everybody: take a server that asks for none"
        ),
    ),
    "what is no address block": (
        f'[network]\ncidr = "10.0.0.1/16"\n{FLEET}',
        (
            'network.cidr: got "10.0.0.1/16", allowed an IPv4 block of /16 to /28: write the first address of '
            'the block and its length, for example "10.0.0.0/16"'
        ),
    ),
    "an address block with a mask": (
        f'[network]\ncidr = "10.0.0.0/255.255.0.0"\n{FLEET}',
        'network.cidr: got "10.0.0.0/255.255.0.0", allowed an IPv4 block of /16 to /28: write it as "10.0.0.0/16"',
    ),
    "a block larger than a VPC": (
        f'[network]\ncidr = "10.0.0.0/8"\n{FLEET}',
        'network.cidr: got "10.0.0.0/8", allowed an IPv4 block of /16 to /28: change the number after the slash',
    ),
    "a block too small for its zones": (
        f'[network]\ncidr = "10.0.0.0/23"\n{FLEET}',
        (
            'network.cidr: got "10.0.0.0/23", allowed a block of /16 to /22 for two /24 subnets in each of '
            "max_azs (2) zones: take a larger one or lower max_azs"
        ),
    ),
    "a block that no VPC may have": (
        f'[network]\ncidr = "127.0.0.0/16"\n{FLEET}',
        (
            'network.cidr: got "127.0.0.0/16", allowed an IPv4 block of /16 to /28 that a VPC may use: take a '
            'private one, for example "10.0.0.0/16"'
        ),
    ),
    "a block that hides behind the RUN steps' own": (
        "[network.vpc]" + VPC.replace("10.20.", "10.10.") + FLEET,
        (
            'network.vpc.cidr: got "10.10.0.0/16", allowed an IPv4 block of /16 to /28 outside 10.10.0.0/16, '
            "which RUN steps have among themselves: take another block, or RUN steps reach neither the VPC's "
            "hosts nor its DNS"
        ),
    ),
    "a VPC that is half given": (
        "[network.vpc]" + VPC.replace("id =", "#", 1) + FLEET,
        "network.vpc.id: got nothing, allowed a value, for it has no default here: add it",
    ),
    "a VPC's id of another kind": (
        "[network.vpc]" + VPC.replace("vpc-", "subnet-") + FLEET,
        (
            'network.vpc.id: got "subnet-0123456789abcdef0", allowed a VPC\'s id, vpc- and 8 or 17 hexadecimal '
            "digits: copy it from the console or the command line"
        ),
    ),
    "fewer subnets than zones": (
        "[network.vpc]" + VPC.replace(', "subnet-89abcdef"', "") + FLEET,
        (
            "network.vpc.private_subnet_ids: got 1, allowed as many as availability_zones (2): list one subnet "
            "for each zone, in the same order"
        ),
    ),
    "zones of two regions": (
        "[network.vpc]" + VPC.replace("eu-west-1b", "us-west-2-lax-1a") + FLEET,
        (
            "network.vpc.availability_zones: got eu-west-1, us-west-2, allowed zones of one region: list the "
            "zones of the region that the stacks are deployed to"
        ),
    ),
    "an existing zone without its name": (
        f'[network]\nhosted_zone_id = "Z012ABC"\n{FLEET}',
        "network.zone_name: got nothing, allowed a value, for it has no default here: add it",
    ),
    "a topic's name where its ARN is asked": (
        f'[observability]\nalarm_topic_arn = "on-call"\n{FLEET}',
        (
            'observability.alarm_topic_arn: got "on-call", allowed an SNS topic\'s ARN, '
            "arn:aws:sns:<region>:<account>:<name>, no FIFO topic: copy it from the console or the command line"
        ),
    ),
    "a FIFO topic": (
        f'[observability]\nalarm_topic_arn = "arn:aws:sns:eu-west-1:111122223333:on-call.fifo"\n{FLEET}',
        (
            'observability.alarm_topic_arn: got "arn:aws:sns:eu-west-1:111122223333:on-call.fifo", allowed an SNS '
            "topic's ARN, arn:aws:sns:<region>:<account>:<name>, no FIFO topic: copy it from the console or the "
            "command line"
        ),
    ),
    "days that CloudWatch Logs does not know": (
        f"[observability]\nlog_retention_days = 10\n{FLEET}",
        (
            "observability.log_retention_days: got 10, allowed 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, "
            "545, 731, 1827, 3653: take 7"
        ),
    ),
    "an existing zone's id as a path": (
        f'[network]\nzone_name = "internal"\nhosted_zone_id = "/hostedzone/Z012ABC"\n{FLEET}',
        (
            'network.hosted_zone_id: got "/hostedzone/Z012ABC", allowed a hosted zone\'s id, Z and capitals and '
            "digits: leave out /hostedzone/"
        ),
    ),
    "a zone's name with a dot at its end": (
        f'[network]\nzone_name = "buildkit.internal."\n{FLEET}',
        (
            'network.zone_name: got "buildkit.internal.", allowed a DNS name of at most 213 lower-case '
            "characters, labels of 1 to 63: write it without a dot at its end, for example buildkit.internal"
        ),
    ),
    "a floating version of KEDA": (
        f'[kubernetes.keda]\nversion = "latest"\n{FLEET}',
        ('kubernetes.keda.version: got "latest", allowed a whole version: write one that the chart\'s repository has'),
    ),
    "a chart repository without a scheme": (
        f'[kubernetes.keda]\nchart_repository = "mirror.example/charts"\n{FLEET}',
        (
            'kubernetes.keda.chart_repository: got "mirror.example/charts", allowed a URL that begins with https:// or '
            "oci://, without a user's name: write the repository's whole URL"
        ),
    ),
    "a registry with a scheme": (
        f'[kubernetes.keda]\nimage_registry = "https://mirror.example"\n{FLEET}',
        (
            'kubernetes.keda.image_registry: got "https://mirror.example", allowed a registry\'s name, with what comes '
            "before kedacore/: write it without https:// and without a slash at its end"
        ),
    ),
    "a digest that is a tag": (
        f'[kubernetes.keda]\noperator_digest = "2.20.2"\n{FLEET}',
        (
            'kubernetes.keda.operator_digest: got "2.20.2", allowed sha256: and 64 lower-case hexadecimal digits: take '
            "what `docker buildx imagetools inspect` prints first"
        ),
    ),
    "one of Kubernetes' own groups for the driver": (
        f'{FLEET}kubernetes = {{ driver = {{ group = "system:masters" }} }}\n',
        (
            'builders.main.kubernetes.driver.group: got "system:masters", allowed a group\'s name in Kubernetes, 1 to '
            "64 lower-case characters, none of its own that begin with system:: name one of your own, for example "
            "buildkit-main-builders"
        ),
    ),
    "an idle timeout longer than an autoscaler of pods remembers": (
        f"{EKS}{REACHED}scaling = {{ idle_timeout_minutes = 61 }}\n",
        (
            "builders.main.scaling.idle_timeout_minutes: got 61, allowed at most 60 where compute is eks, as long as "
            "its autoscaler remembers: lower it"
        ),
    ),
    "an AMI that is none": (
        f'{FLEET}ami = {{ arm64 = "al2023" }}\n',
        (
            'builders.main.ami.arm64: got "al2023", allowed latest, or an AMI\'s id, ami- and 8 or 17 '
            "hexadecimal digits: leave it out for the latest"
        ),
    ),
    "a tag that AWS keeps for itself": (
        f'[deployment]\ntags = {{ "AWS:team" = "builds" }}\n{FLEET}',
        (
            'deployment.tags."AWS:team": got "AWS:team", allowed 1 to 128 letters, digits, spaces and '
            '+-=._:/@, not beginning with "aws:": take another, for AWS keeps those for itself'
        ),
    ),
    "a tag that is no string": (
        f"[deployment]\ntags = {{ cost = 7 }}\n{FLEET}",
        "deployment.tags.cost: got 7, allowed a string: put it in quotes",
    ),
    "a tag's value with a line's end": (
        f'[deployment]\ntags = {{ team = "a\\nb" }}\n{FLEET}',
        (
            'deployment.tags.team: got "a\\nb", allowed 1 to 256 letters, digits, spaces and +-=._:/@: shorten '
            "it or leave the other characters out"
        ),
    ),
    "tags that differ only in case": (
        f'[deployment]\ntags = {{ team = "a", Team = "b" }}\n{FLEET}',
        'deployment.tags: got "Team", allowed keys that differ from "team" in more than case: remove one of the two',
    ),
    "more tags than fit": (
        "[deployment.tags]\n" + "".join(f't{number} = "x"\n' for number in range(41)) + FLEET,
        "deployment.tags: got 41, allowed at most 40 tags: remove some",
    ),
    "a permissions boundary of another kind": (
        f'[deployment]\npermissions_boundary = "arn:aws:iam::111122223333:role/boundary"\n{FLEET}',
        (
            'deployment.permissions_boundary: got "arn:aws:iam::111122223333:role/boundary", allowed an IAM '
            "managed policy's name or ARN: write the name alone, or arn:aws:iam::<account>:policy/<name>"
        ),
    ),
    "a bootstrap qualifier that is too long": (
        f'[deployment]\nbootstrap_qualifier = "elevenchars"\n{FLEET}',
        (
            'deployment.bootstrap_qualifier: got "elevenchars", allowed 1 to 10 lower-case letters, digits and '
            "hyphens: write the one that `cdk bootstrap --qualifier` was given"
        ),
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_refuses(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "builders.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as raised:
        load_config(path)

    assert str(raised.value).splitlines() == [f"{path} is refused:", expected]
