"""The warning about runners without a runner group: it says how a pull request would use them."""

import jsii
from aws_cdk import Annotations
from constructs import Construct, IValidation

from cdk_buildkit.builder_fleet import BuilderFleet, other_readers

WARNING_ID = "cdk-buildkit:runnersWithoutGroup"
"""By this, `Annotations.of(runners).acknowledge_warning` answers the warning about a missing runner group."""


def warn_without_group(runners: Construct, *, builders: BuilderFleet, runs_on: str, pull_requests: bool) -> None:
    """Warn at synth of runners that any workflow may use, unless pull requests alone read what they build.

    Args:
        runners: The runners, which are in no runner group.
        builders: The fleet that they build on.
        runs_on: What a workflow writes to use them.
        pull_requests: They are for the jobs of pull requests.
    """
    runners.node.add_validation(_GroupWarning(runners, builders, runs_on, pull_requests=pull_requests))


@jsii.implements(IValidation)
class _GroupWarning:
    """Warns at validation: who reads the scope may be granted after the runners are made."""

    def __init__(self, runners: Construct, builders: BuilderFleet, runs_on: str, *, pull_requests: bool) -> None:
        self._runners = runners
        self._builders = builders
        self._runs_on = runs_on
        self._pull_requests = pull_requests

    @jsii.member(jsii_name="validate")
    def validate(self) -> list[str]:
        builders = self._builders
        others = other_readers(builders)
        if not others and self._pull_requests:
            return []
        Annotations.of(self._runners).add_warning_v2(
            WARNING_ID,
            f"These runners have no runner group. Who opens a pull request in a repository that they serve can write "
            f"`runs-on: {self._runs_on}` in it, build on the fleet {builders.domain_name}, and leave layers in its "
            f"cache scope {builders.write.name}. That is read by "
            f"{', '.join(['later builds of that fleet', *others])}. Give runner_group, a group in GitHub that is "
            "limited to selected workflows on protected branches; or bind the runners to a fleet whose scope pull "
            "requests alone read, and say pull_requests.",
        )
        return []
