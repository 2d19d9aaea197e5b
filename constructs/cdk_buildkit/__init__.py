"""AWS CDK constructs for shared, keyless BuildKit builders with an S3 layer cache."""

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_expiration import CacheExpiration, expiration_margin_days
from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from cdk_buildkit.alarm_topic import AlarmTopic
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_certificates import BuilderCertificates
from cdk_buildkit.builder_cluster import BuilderCluster
from cdk_buildkit.builder_images import BuilderImages
from cdk_buildkit.builder_scaling import BuilderScaling
from cdk_buildkit.builder_waker import BuilderWaker
from cdk_buildkit.buildkit_release import BuildKitRelease
from cdk_buildkit.buildx_driver import BuildxDriver
from cdk_buildkit.cache_bucket import CacheBucket
from cdk_buildkit.cache_names import CacheNames
from cdk_buildkit.capacity_schedule import CapacitySchedule
from cdk_buildkit.ec2_builder_fleet import Ec2BuilderFleet
from cdk_buildkit.eks_builder_fleet import EksBuilderFleet
from cdk_buildkit.existing_cluster import ExistingCluster
from cdk_buildkit.function_alarm import FunctionAlarm
from cdk_buildkit.github_actions_role import GithubActionsRole
from cdk_buildkit.github_runner_fleet import GithubRunnerFleet
from cdk_buildkit.github_subjects import GithubSubjects
from cdk_buildkit.keda_operator import KedaOperator
from cdk_buildkit.keda_release import KedaRelease
from cdk_buildkit.observability import BuilderObservability
from cdk_buildkit.pod_resources import PodResources, PodStore
from cdk_buildkit.pod_scaling import PodScaling
from cdk_buildkit.pod_waker import PodWaker
from cdk_buildkit.release_bucket import ReleaseBucket
from cdk_buildkit.runner_compute import CodeBuildRunners, Ec2Runners, FargateRunners
from cdk_buildkit.runner_controller import RunnerController
from cdk_buildkit.runner_controller_release import RunnerControllerRelease
from cdk_buildkit.runner_scale_set import RunnerScaleSet
from cdk_buildkit.runner_tools import PinnedTool, RunnerTools
from cdk_buildkit.store_volume import StoreVolume
from cdk_buildkit.warm_pool import WarmPool

__all__ = [
    "AlarmTopic",
    "Architecture",
    "BuildKitRelease",
    "BuilderCapacity",
    "BuilderCertificates",
    "BuilderCluster",
    "BuilderImages",
    "BuilderObservability",
    "BuilderScaling",
    "BuilderWaker",
    "BuildxDriver",
    "CacheBucket",
    "CacheExpiration",
    "CacheNames",
    "CacheOptions",
    "CacheScope",
    "CapacitySchedule",
    "CodeBuildRunners",
    "Ec2BuilderFleet",
    "Ec2Runners",
    "EksBuilderFleet",
    "ExistingCluster",
    "FargateRunners",
    "FunctionAlarm",
    "GithubActionsRole",
    "GithubRunnerFleet",
    "GithubSubjects",
    "KedaOperator",
    "KedaRelease",
    "PinnedTool",
    "PodResources",
    "PodScaling",
    "PodStore",
    "PodWaker",
    "ReleaseBucket",
    "RunnerController",
    "RunnerControllerRelease",
    "RunnerScaleSet",
    "RunnerTools",
    "StoreVolume",
    "WarmPool",
    "cache_name",
    "cache_options",
    "expiration_margin_days",
]
