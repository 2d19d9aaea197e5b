"""Makes the configuration from its file: every default filled in, every problem reported at once."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from buildkit_ops.architecture import Architecture
from cdk_buildkit.instance_types import DEFAULT_INSTANCE_TYPES
from stacks.config import rules
from stacks.config.document import read_document, shown
from stacks.config.github_actions_rules import github_actions_problems
from stacks.config.github_actions_settings import GithubActionsConfig
from stacks.config.kubernetes_rules import kubernetes_problems
from stacks.config.kubernetes_settings import KubernetesConfig
from stacks.config.problems import ConfigError, KeyPath, Problem, RefusalError
from stacks.config.runner_rules import runner_problems
from stacks.config.runner_scale_set_rules import scale_set_problems, with_runners_admitted
from stacks.config.runner_scale_set_settings import RunnerScaleSetConfig
from stacks.config.runner_settings import RunnerConfig, RunnerToolsConfig
from stacks.config.settings import (
    BuildkitConfig,
    CacheConfig,
    Config,
    DeploymentConfig,
    FleetConfig,
    NetworkConfig,
    ObservabilityConfig,
    architectures_in_use,
)
from stacks.config.structure import structure, unknown_key
from stacks.config.values import check_name

_Settings = TypeVar("_Settings")
_Value = TypeVar("_Value")


def load_config(path: Path) -> Config:
    """Read a deployment's configuration.

    Raises:
        ConfigError: The file is missing, is no TOML, or says what is not allowed. Its words name every problem, one a
            line in the order of the file, and how to mend it.
    """
    document = read_document(path)
    reading = _Reading(document)
    config = reading.config()
    if not config:
        in_order = sorted(reading.problems, key=lambda problem: _position(document, problem.path))
        raise ConfigError("\n".join([f"{shown(path)} is refused:", *map(str, in_order)]))
    return config


class _Reading:
    """One reading of a document, which goes on after a problem so that all are found."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.problems: list[Problem] = []
        self._document = document

    def config(self) -> Config | None:
        """Return the configuration, or None where `problems` says why there is none."""
        sections = [field.name for field in fields(Config)]
        self.problems += [unknown_key((), key, sections) for key in self._document if key not in sections]
        deployment = self._settings(self._document.get("deployment", {}), DeploymentConfig, ("deployment",))
        name = (deployment or DeploymentConfig()).name
        network = self._settings(_with_zone_name(self._document.get("network", {}), name), NetworkConfig, ("network",))
        cache = self._settings(self._document.get("cache", {}), CacheConfig, ("cache",))
        buildkit = self._settings(self._document.get("buildkit", {}), BuildkitConfig, ("buildkit",))
        kubernetes = self._settings(self._document.get("kubernetes", {}), KubernetesConfig, ("kubernetes",))
        observability = self._settings(self._document.get("observability", {}), ObservabilityConfig, ("observability",))
        tools = self._settings(self._document.get("runner_tools", {}), RunnerToolsConfig, ("runner_tools",))
        builders = self._fleets()
        runners = self._named("runners", RunnerConfig, "tables of runners", "add a table [runners.default]")
        scale_sets = self._named(
            "runner_scale_sets", RunnerScaleSetConfig, "tables of runners", "add a table [runner_scale_sets.default]"
        )
        roles = self._named(
            "github_actions", GithubActionsConfig, "tables of roles", "add a table [github_actions.default]"
        )
        builders = with_runners_admitted(builders, scale_sets)
        if network:
            self.problems += rules.network_problems(network)
        if cache:
            self.problems += rules.cache_problems(cache, builders)
        if buildkit:
            buildkit = replace(buildkit, sha256={**BuildkitConfig().sha256, **buildkit.sha256})
            self.problems += rules.buildkit_problems(buildkit, builders)
        if kubernetes and self._are_all("runner_scale_sets", scale_sets):
            # Runners that could not be read may be the ones by whom a fleet is reached.
            self.problems += kubernetes_problems(kubernetes, network, builders)
        if network and tools and self._are_all("builders", builders):
            # A fleet that could not be read may be the one that runners and roles are for.
            self.problems += runner_problems(runners, tools, network, builders)
            self.problems += scale_set_problems(scale_sets, builders)
            self.problems += github_actions_problems(
                roles, {"runners": runners, "runner_scale_sets": scale_sets}, builders
            )
        if self.problems or not (
            deployment and network and cache and buildkit and kubernetes and observability and tools
        ):
            return None
        used = architectures_in_use(builders)
        return Config(
            deployment=deployment,
            network=network,
            cache=replace(cache, bucket_names=_those_of(used, cache.bucket_names)),
            buildkit=replace(buildkit, sha256=_those_of(used, buildkit.sha256)),
            kubernetes=kubernetes,
            observability=observability,
            builders=builders,
            runner_tools=tools,
            runners=runners,
            runner_scale_sets=scale_sets,
            github_actions=roles,
        )

    def _fleets(self) -> dict[str, FleetConfig]:
        path = ("builders",)
        tables = self._document.get("builders", {})
        if not isinstance(tables, dict) or not tables:
            self._refuse(path, RefusalError(tables, "at least one fleet", "add a table [builders.main]"))
            return {}
        fleets = {}
        for name, table in tables.items():
            try:
                check_name(name)
            except RefusalError as error:
                self._refuse((*path, name), error)
                continue
            fleet = self._settings(_with_fleet_defaults(table, name), FleetConfig, (*path, name))
            if fleet:
                self.problems += rules.fleet_problems(name, fleet)
                fleets[name] = _completed(fleet)
        self.problems += rules.tier_problems(fleets)
        if len(fleets) == len(tables):
            # A fleet that could not be read may be the one that writes the scope.
            self.problems += rules.reader_problems(fleets)
        return fleets

    def _named(self, section: str, kind: type[_Settings], allowed: str, mend: str) -> dict[str, _Settings]:
        """Read a section whose tables have names of the operator's own."""
        tables = self._document.get(section, {})
        if not isinstance(tables, dict):
            self._refuse((section,), RefusalError(tables, allowed, mend))
            return {}
        found = {}
        for name, table in tables.items():
            try:
                check_name(name)
            except RefusalError as error:
                self._refuse((section, name), error)
                continue
            settings = self._settings(table, kind, (section, name))
            if settings:
                found[name] = settings
        return found

    def _are_all(self, section: str, found: Mapping[str, Any]) -> bool:
        """Tell whether every table of a section could be read."""
        tables = self._document.get(section, {})
        return isinstance(tables, dict) and len(found) == len(tables)

    def _settings(self, value: object, kind: type[_Settings], path: KeyPath) -> _Settings | None:
        settings, problems = structure(value, kind, path)
        self.problems += problems
        return settings

    def _refuse(self, path: KeyPath, error: RefusalError) -> None:
        self.problems.append(Problem(path, str(error)))


def _with_zone_name(table: Any, deployment_name: str) -> Any:  # noqa: ANN401 - from a file, of any kind
    """Fill in the zone's name, but not beside an existing zone's id: that zone has a name already."""
    if not isinstance(table, dict) or "hosted_zone_id" in table:
        return table
    return {"zone_name": f"{deployment_name}.buildkit.internal", **table}


def _with_fleet_defaults(table: Any, name: str) -> Any:  # noqa: ANN401 - from a file, of any kind
    """Fill in what depends on the fleet's name."""
    if not isinstance(table, dict):
        return table
    scopes = table.get("cache", {})
    return {
        **table,
        "cache": {"write": name, **scopes} if isinstance(scopes, dict) else scopes,
    }


def _completed(fleet: FleetConfig) -> FleetConfig:
    """Fill in what depends on other settings of the fleet, and drop what is for architectures that it has not."""
    scopes = fleet.cache
    images = {architecture: ami for architecture, ami in fleet.ami.items() if ami != "latest"}
    return replace(
        fleet,
        cache=replace(scopes, read=(scopes.write, *(scope for scope in scopes.read if scope != scopes.write))),
        instance_types=_those_of(fleet.architectures, {**DEFAULT_INSTANCE_TYPES, **fleet.instance_types}),
        ami=_those_of(fleet.architectures, images),
    )


def _those_of(
    architectures: Sequence[Architecture], values: Mapping[Architecture, _Value]
) -> dict[Architecture, _Value]:
    return {architecture: values[architecture] for architecture in architectures if architecture in values}


def _position(document: Mapping[str, Any], path: KeyPath) -> list[int]:
    """Say where in the document a path is, for sorting. What is missing comes after what is there."""
    position = []
    node: Any = document
    for part in path:
        if isinstance(node, dict):
            keys = list(node)
            position.append(keys.index(part) if part in node else len(keys))
            node = node.get(part)
        elif isinstance(part, int):
            position.append(part)
    return position
