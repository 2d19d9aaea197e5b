"""The deployment's configuration: one TOML file, read once, refused before any construct is made or valid throughout."""

from stacks.config.load import load_config
from stacks.config.problems import ConfigError
from stacks.config.settings import (
    BuildkitConfig,
    CacheConfig,
    Config,
    DeploymentConfig,
    DnsZoneConfig,
    FleetConfig,
    NetworkConfig,
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
    "DnsZoneConfig",
    "FleetConfig",
    "NetworkConfig",
    "ScopesConfig",
    "VolumeConfig",
    "VpcConfig",
    "load_config",
]
