"""The deployment's configuration: one TOML file, read once and valid throughout, or refused with reasons."""

from stacks.config.kubernetes_settings import ClusterConfig, DriverConfig, KedaConfig, KubernetesConfig, PodsConfig
from stacks.config.load import load_config
from stacks.config.problems import ConfigError
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
    VpcConfig,
    architectures_in_use,
)

__all__ = [
    "BuildkitConfig",
    "CacheConfig",
    "ClusterConfig",
    "Config",
    "ConfigError",
    "DeploymentConfig",
    "DriverConfig",
    "FleetConfig",
    "KedaConfig",
    "KubernetesConfig",
    "NetworkConfig",
    "ObservabilityConfig",
    "PodsConfig",
    "ScalingConfig",
    "ScopesConfig",
    "VolumeConfig",
    "VpcConfig",
    "architectures_in_use",
    "load_config",
]
