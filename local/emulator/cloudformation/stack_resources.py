"""The resources of a stack: made, changed and removed in the order in which they depend on each other."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from moto.cloudformation import parsing

from local.emulator.aws import Aws
from local.emulator.cloudformation.resource import Resource, ResourceError, Retention
from local.emulator.cloudformation.resource_type import Declaration, Properties


class StackResources(parsing.ResourceMap):
    """A stack's resources by logical id, in place of moto's map of them.

    To ask for one is to make it, after all that it depends on, or during an update to bring it to what is declared
    now. moto's own map knows nothing of DependsOn in change sets, and changes only what has other text in the template:
    not what refers to something that was replaced.
    """

    aws: Aws

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - moto's arguments
        super().__init__(*args, **kwargs)
        self._former: dict[str, Resource] = {}
        self._replaced: list[Resource] = []

    @property
    def resources(self) -> list[str]:
        """The logical ids of what the stack has made, in that order."""
        parsed = dict(self._parsed_resources)
        return [logical_id for logical_id, resource in parsed.items() if isinstance(resource, Resource)]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - a resource, a parameter's value or a mapping
        if key not in self._parsed_resources:
            declared = self._resource_json_map[key]
            if "Condition" in declared and not self.lazy_condition_map[declared["Condition"]]:
                return None
            dependencies = declared.get("DependsOn", [])
            for dependency in dependencies if isinstance(dependencies, list) else [dependencies]:
                self[dependency]
            self._parsed_resources[key] = self._provide(key, declared)
        return self._parsed_resources[key]

    def update(self, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
        """Bring the stack to a template: first what it declares, then remove what it does not, as CloudFormation does.

        Raises:
            ResourceError: A resource could not be created or changed. What is left of a change stays.
        """
        declared_before = self._resource_json_map
        self._former = {logical_id: self._parsed_resources.pop(logical_id) for logical_id in self.resources}
        self._replaced = []
        self._template, self._resource_json_map = template, template["Resources"]
        if parameters:
            self.input_parameters = parameters
        try:
            self.load_mapping()
            self.load_parameters()
            self.load_conditions()
            for logical_id in template["Resources"]:
                self[logical_id]
        except Exception:
            self._resource_json_map = declared_before
            self._parsed_resources |= self._former
            raise
        removed = [each for each in self._former.values() if not each.retention.when_removed]
        replaced = [each for each in self._replaced if not each.retention.when_replaced]
        self._former = {}
        for resource in reversed([*removed, *replaced]):
            with suppress(ResourceError):  # the stack's events have it; the update is no failure for it
                resource.delete()

    def delete(self) -> None:
        """Delete all that is not retained, the last first: what others refer to was made before them.

        Raises:
            ResourceError: A resource could not be deleted. It and those before it are still the stack's.
        """
        for logical_id in reversed(self.resources):
            resource = self[logical_id]
            if not resource.retention.when_removed:
                resource.delete()
            del self._parsed_resources[logical_id]

    def _provide(self, logical_id: str, declared: Mapping[str, Any]) -> Resource:
        declaration = Declaration(
            aws=self.aws,
            stack_id=self.stack_id,
            type_name=declared["Type"],
            logical_id=logical_id,
            properties=Properties(_without_nothing(parsing.clean_json(declared.get("Properties", {}), self))),
        )
        retention = Retention(
            when_removed=declared.get("DeletionPolicy", "").startswith("Retain"),
            when_replaced=declared.get("UpdateReplacePolicy", "") == "Retain",
        )
        former = self._former.get(logical_id)
        if former is None or former.cf_resource_type != declaration.type_name:
            return Resource.create(declaration, retention)
        resource = former.update(declaration, retention)
        del self._former[logical_id]
        if resource.physical_resource_id != former.physical_resource_id:
            self._replaced.append(former)
        return resource


def _without_nothing(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave out list elements that are AWS::NoValue, which moto leaves in."""
    if isinstance(value, dict):
        return {name: _without_nothing(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nothing(each) for each in value if each is not None]
    return value
