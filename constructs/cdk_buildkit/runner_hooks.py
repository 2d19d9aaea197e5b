"""What runs around every job of a runner: the hooks, and the tool that they call to connect the job to its builders."""

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import AssetStaging, Duration, Stack, Token
from cloudsnorkel import cdk_github_runners as engine
from constructs import Construct

import buildkit_ops
from buildkit_ops.architecture import Architecture

_FILES = Path(__file__).parent / "runner"
_TOOL = "/opt/cdk-buildkit"


def hook_components(
    scope: Construct, *, builders: Construct, architectures: Sequence[Architecture], timeout: Duration
) -> list[engine.RunnerImageComponent]:
    """Make the parts of an image that install `cdk-buildkit`, and let the runner call it around every job.

    The engine's own hooks run first, which tell it of the job, and then call these. What they must know is in the
    runner's `.env`, which every provider's runner reads: no workflow's `env` reaches a hook.

    Args:
        scope: Where the tool's files are staged.
        builders: The fleet that jobs connect to.
        architectures: Its builders that jobs connect to. Default, when empty: all.
        timeout: How long a job waits for builders.

    Raises:
        ValueError: The name of the builders' stack is known at deployment alone.
    """
    variables = {
        "CDK_BUILDKIT_STACK": stack_name(builders),
        "CDK_BUILDKIT_ARCHITECTURES": " ".join(architectures),
        "CDK_BUILDKIT_TIMEOUT": f"{timeout.to_minutes(integral=False):g}",
    }
    region = Stack.of(builders).region
    if not Token.is_unresolved(region):  # else it is the runner's own, which the engine sets
        variables["CDK_BUILDKIT_REGION"] = region
    # Staged, for what Python leaves beside its modules would change the image's hash.
    package = AssetStaging(
        scope, "Tool", source_path=str(Path(buildkit_ops.__file__).parent), exclude=["__pycache__"]
    ).absolute_staged_path
    files = {
        "/opt/install-client.sh": str(_FILES / "install-client.sh"),
        f"{_TOOL}/requirements.txt": str(_FILES / "requirements.txt"),
        f"{_TOOL}/buildkit_ops": package,
    }
    return [
        engine.RunnerImageComponent.custom(
            name="BuildKit-Client",
            assets=[engine.RunnerImageAsset(source=source, target=target) for target, source in files.items()],
            commands=["bash /opt/install-client.sh"],
        ),
        engine.RunnerImageComponent.environment_variables({name: each for name, each in variables.items() if each}),
        engine.RunnerImageComponent.job_started_hook(str(_FILES / "job-started.sh")),
        engine.RunnerImageComponent.job_completed_hook(str(_FILES / "job-completed.sh")),
    ]


def stack_name(builders: Construct) -> str:
    """Return the name of the builders' stack, by which jobs find them.

    Raises:
        ValueError: It is known at deployment alone.
    """
    name = Stack.of(builders).stack_name
    if Token.is_unresolved(name):
        raise ValueError(
            "jobs find their builders by the name of the stack, which is written into the runners' image; got builders "
            f"in {Stack.of(builders).node.path}, whose name is known at deployment alone: put them into a "
            "stack that is nested in none, and give it a stack_name that is text"
        )
    return name
