"""The deployment's configuration: one TOML file, read once and valid throughout, or refused with reasons."""

from stacks.config.github_actions_settings import GithubActionsConfig
from stacks.config.kubernetes_settings import ClusterConfig, DriverConfig, KedaConfig, KubernetesConfig, PodsConfig
from stacks.config.load import load_config
from stacks.config.problems import ConfigError
from stacks.config.runner_scale_set_settings import RunnerControllerConfig, RunnerScaleSetConfig
from stacks.config.runner_settings import AccessConfig, RunnerConfig, RunnerToolsConfig
from stacks.config.scaling_settings import ScalingConfig
from stacks.config.settings import (
    BuildkitConfig,
    CacheConfig,
    Config,
    DeploymentConfig,
    FleetConfig,
    NetworkConfig,
    ObservabilityConfig,
    ScopesConfig,
    VolumeConfig,
    architectures_in_use,
)
from stacks.config.vpc_settings import VpcConfig

__all__ = [
    "AccessConfig",
    "BuildkitConfig",
    "CacheConfig",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "DeploymentConfig",
    "DriverConfig",
    "FleetConfig",
    "GithubActionsConfig",
    "KedaConfig",
    "KubernetesConfig",
    "NetworkConfig",
    "ObservabilityConfig",
    "PodsConfig",
    "RunnerConfig",
    "RunnerControllerConfig",
    "RunnerScaleSetConfig",
    "RunnerToolsConfig",
    "ScalingConfig",
    "ScopesConfig",
    "VolumeConfig",
    "VpcConfig",
    "architectures_in_use",
    "load_config",
]
