"""A job of a workflow on a fleet: the runner's hook connects it, it builds with what it was told, and it ends."""

import time
from collections.abc import Callable
from pathlib import Path

from local.cases import FLEET, PROJECT, Cases, NewBuilder, measured
from local.client import Build, BuildError, Steps
from local.emulator.aws import REGION
from local.emulator.request_log import refusals
from local.fleet_address import fleet_address
from local.github_runner import GithubRunner, Job
from local.lab import ARCHITECTURE, Lab
from local.report import JobRun

# The whole image, so that every layer of it is fetched.
BUILD = 'docker buildx build --progress=rawjson --output="type=oci,dest=$RUNNER_TEMP/image.tar" $BUILDKIT_CACHE_ARGS'


def run_a_job(
    lab: Lab, cases: Cases, directory: Path, progress: Callable[[str], None], new_builder: NewBuilder
) -> JobRun:
    """Run a job of a new branch, which builds the unchanged example on a fresh builder.

    Raises:
        BuildError: It was not connected, or its build failed.
    """
    runner = GithubRunner(
        directory,
        image={
            "CDK_BUILDKIT_STACK": f"buildkit-builders-{FLEET}",
            "CDK_BUILDKIT_REGION": REGION,
            "CDK_BUILDKIT_ARCHITECTURES": ARCHITECTURE.value,
        },
        account=lab.emulator.environment,
    )
    job = Job(
        runner,
        cases.context,
        event={"repository": {"default_branch": "main"}},
        variables={"GITHUB_REPOSITORY": PROJECT, "GITHUB_REF_NAME": "feature"},
    )
    with new_builder(FLEET) as builder:
        address, _, _ = builder.endpoint.partition(":")
        with fleet_address(lab.deployment.domain_name(FLEET), directory, {ARCHITECTURE: address}):
            progress("connecting a workflow's job to the fleet")
            started, position = time.monotonic(), lab.emulator.log.position
            connected = job.start()
            connect_seconds = time.monotonic() - started
            if connected.returncode:
                raise BuildError(f"the hook did not connect the job:\n{connected.stdout}")
            progress("building in a workflow's job")
            # The hook has asked the function that looks into the cache; from here on builders alone do.
            connected_position = lab.emulator.log.position
            build = _build(job, cases.base_image)
            completed = job.complete()
    requests = lab.cache_requests(since=connected_position)
    return JobRun(
        case=measured("job-of-a-workflow", build, requests),
        connect_seconds=connect_seconds,
        left=[
            *map(str, runner.certificates),
            *(f"the builder {name}" for name in runner.builders),
            *completed.stdout.splitlines(),
        ],
        s3_access_keys=sorted({request.access_key or "unsigned" for request in requests}),
        denied=refusals(lab.emulator.log.since(position)),
    )


def _build(job: Job, base_image: list[str]) -> Build:
    started = time.monotonic()
    done = job.step(" ".join((BUILD, *base_image, ".")))
    seconds = time.monotonic() - started
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if not line.startswith("{")]
        raise BuildError("the build of a workflow's job failed:\n" + "\n".join(said[-20:]))
    steps = Steps()
    for line in done.stdout.splitlines():
        steps.read(line)
    return Build(seconds=seconds, steps=steps.count, cached_steps=steps.cached)
