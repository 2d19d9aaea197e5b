"""The deployment's configuration: one TOML file, read once and valid throughout, or refused with reasons."""

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
)

__all__ = [
    "BuildkitConfig",
    "CacheConfig",
    "Config",
    "ConfigError",
    "DeploymentConfig",
    "FleetConfig",
    "NetworkConfig",
    "ObservabilityConfig",
    "ScalingConfig",
    "ScopesConfig",
    "VolumeConfig",
    "VpcConfig",
    "load_config",
]
