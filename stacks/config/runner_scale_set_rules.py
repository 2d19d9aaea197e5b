"""What the settings of runner scale sets must be to each other and to their builders."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from stacks.config.problems import Problem, listing, quote, refused, suggestion
from stacks.config.runner_scale_set_settings import RunnerScaleSetConfig
from stacks.config.settings import FleetConfig


def scale_set_problems(
    scale_sets: Mapping[str, RunnerScaleSetConfig], builders: Mapping[str, FleetConfig]
) -> Iterator[Problem]:
    """Check each scale set against its builders and the other scale sets."""
    on_eks = [name for name, fleet in builders.items() if fleet.compute == "eks"]
    namespaces = {builders[name].kubernetes.namespace or f"buildkit-{name}": f"builders.{name}" for name in on_eks}
    for name, scale_set in scale_sets.items():
        path = ("runner_scale_sets", name)
        if scale_set.builder not in on_eks:
            yield refused(
                (*path, "builder"),
                quote(scale_set.builder),
                f"the name of a fleet of builders on eks ({listing(on_eks) if on_eks else 'there is none'})",
                suggestion(
                    scale_set.builder, on_eks, "choose one of them; runners for builders on ec2 are made by [runners]"
                ),
            )
        if scale_set.min_runners > scale_set.max_runners:
            yield refused(
                (*path, "min_runners"),
                scale_set.min_runners,
                f"at most max_runners, {scale_set.max_runners}",
                "lower it, or raise max_runners",
            )
        namespace = namespace_of(name, scale_set)
        if namespace in namespaces:
            yield refused(
                (*path, "namespace"),
                quote(namespace),
                "a namespace of its own, for its pods share a role",
                f"take another than that of {namespaces[namespace]}",
            )
        namespaces[namespace] = f"runner_scale_sets.{name}"


def namespace_of(name: str, scale_set: RunnerScaleSetConfig) -> str:
    """Return the namespace of a scale set."""
    return scale_set.namespace or f"runners-{name}"


def with_runners_admitted(
    builders: Mapping[str, FleetConfig], scale_sets: Mapping[str, RunnerScaleSetConfig]
) -> dict[str, FleetConfig]:
    """Return the fleets with the namespaces of their runners among those of their clients."""
    admitted = {}
    for name, fleet in builders.items():
        runners = [namespace_of(each, scale_set) for each, scale_set in scale_sets.items() if scale_set.builder == name]
        namespaces = dict.fromkeys((*fleet.kubernetes.client_namespaces, *runners))
        admitted[name] = replace(fleet, kubernetes=replace(fleet.kubernetes, client_namespaces=tuple(namespaces)))
    return admitted
