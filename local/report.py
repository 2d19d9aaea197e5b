"""What `make local` found: the table on the terminal, the JSON beside it, and what makes it a failure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ORIGIN_RATIO = 9.06
"""No cache over S3 cache, unchanged, as the origin of this project measured it on a remote builder in AWS."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One measured build.

    Args:
        name: `no-cache`, `s3-max-unchanged`, `s3-max-final`, `s3-max-source`, `s3-min-unchanged`, `same-builder`.
        fresh_builder: Whether the builder had built nothing before.
        seconds: From the client's start to its end.
        steps: Steps of the Dockerfile.
        cached_steps: Those of them that came from a cache.
        s3_bytes_read: Bytes that the cache bucket sent meanwhile.
        s3_bytes_written: Bytes that it took.
    """

    name: str
    fresh_builder: bool
    seconds: float
    steps: int
    cached_steps: int
    s3_bytes_read: int
    s3_bytes_written: int


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """A builder's replacement in the middle of a build, which ended well: one that is lost ends the run.

    Args:
        build_seconds: The build's, from the client's start to its end.
        builds_under_drain: Builds that ran when the drain began.
        drain_seconds: How long the builder drained.
        hook_answer: The builder's answer to the terminating hook. None: it is a pod, which has none.
        killed_flows: Connections that the load balancer cut.
        steps: Steps of the Dockerfile.
        cached_steps: Those that the next build, on the new builder, took from the cache.
    """

    build_seconds: float
    builds_under_drain: int
    drain_seconds: float
    hook_answer: str | None
    killed_flows: int
    steps: int
    cached_steps: int


@dataclass(frozen=True, kw_only=True)
class Tiers:
    """What a pull request's build tried on main's cache and builders.

    Args:
        denied: Its builder's requests to main's scope that the role was refused.
        changed: Objects in main's scope that are not as before.
        foreign_keys: Objects outside of its own scope that it read or wrote in the build that it may do.
        own_keys: Objects in its own scope that it wrote there.
        admitted: Fleets whose builders let its client in.
    """

    denied: Sequence[str]
    changed: Sequence[str]
    foreign_keys: Sequence[str]
    own_keys: Sequence[str]
    admitted: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """A job of a workflow, between the runner's hooks.

    Args:
        case: Its build, on a fresh builder.
        connect_seconds: How long the hook before its first step took.
        left: What the hook after its last step has left of certificates and builders.
        s3_access_keys: Every key that signed a request to the cache bucket once it was connected.
        denied: What anybody was refused from the hook before its first step on.
    """

    case: Case
    connect_seconds: float
    left: Sequence[str]
    s3_access_keys: Sequence[str]
    denied: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole run.

    Args:
        cases: The measured builds.
        replacement: A builder's replacement in the middle of a build.
        tiers: What a pull request's build tried.
        job: A job of a workflow.
        export_seconds: How long the exports took that filled the cache, by mode, on a builder that had just built.
        s3_access_keys: Every key that signed a request to the cache bucket from the first build on.
        builder_access_key: The key that the builders got from their metadata service.
        client_decoy_key: The key in the clients' environment.
        denied: What the builders' role was refused.
        stored_bytes: What the cache bucket holds at the end.
        resources: How many resources of each type were read back and compared with their templates.
        unchecked: Declared properties that were not compared, as `type.property`.
        differences: Where the account differs from the templates.
        versions: Of the programs.
    """

    cases: Sequence[Case]
    replacement: Replacement
    tiers: Tiers
    job: JobRun
    export_seconds: Mapping[str, float]
    s3_access_keys: Sequence[str]
    builder_access_key: str
    client_decoy_key: str
    denied: Sequence[str]
    stored_bytes: int
    resources: Mapping[str, int]
    unchecked: Sequence[str]
    differences: Sequence[str]
    versions: Mapping[str, str]

    def case(self, name: str) -> Case:
        """Return the case of that name."""
        return next(case for case in self.cases if case.name == name)

    @property
    def ratio(self) -> float:
        """How many times faster the unchanged build is with the S3 cache, both on a fresh builder."""
        return self.case("no-cache").seconds / self.case("s3-max-unchanged").seconds

    def failures(self) -> Iterator[str]:
        """Say what breaks a promise."""
        unchanged = self.case("s3-max-unchanged")
        if unchanged.cached_steps < unchanged.steps:
            yield f"the unchanged build took {unchanged.cached_steps} of {unchanged.steps} steps from the cache"
        if list(self.s3_access_keys) != [self.builder_access_key]:
            yield f"the cache bucket saw the keys {list(self.s3_access_keys)}, not the builders' alone"
        yield from self._failures_of_replacement()
        yield from self._failures_of_tiers()
        yield from self._failures_of_job()
        for denial in self.denied:
            yield f"the builders' role was denied {denial}"
        for difference in self.differences:
            yield f"the account differs from its template: {difference}"
        for name in self.unchecked:
            yield f"{name} was not compared with its template"

    def _failures_of_replacement(self) -> Iterator[str]:
        replacement = self.replacement
        if replacement.builds_under_drain != 1:
            yield f"a builder was to drain under 1 build, and did under {replacement.builds_under_drain}"
        if replacement.hook_answer not in ("CONTINUE", None):
            yield f"the drained builder answered its hook with {replacement.hook_answer}"
        if replacement.killed_flows:
            yield f"the load balancer cut {replacement.killed_flows} connections of a builder that drained"
        if replacement.cached_steps < replacement.steps:
            yield (
                f"{replacement.cached_steps} of {replacement.steps} steps of the build that its builder's end waited "
                "for were in the cache"
            )

    def _failures_of_tiers(self) -> Iterator[str]:
        tiers = self.tiers
        if not tiers.denied:
            yield "a pull request's builder was refused nothing of main's cache"
        for key in tiers.changed:
            yield f"a pull request's build changed {key}"
        for key in tiers.foreign_keys:
            yield f"a pull request's build reached {key}"
        if not tiers.own_keys:
            yield "a pull request's build left nothing in its own scope"
        if list(tiers.admitted) != ["pull-requests"]:
            yield f"a pull request's client was let in by the builders of {list(tiers.admitted)}"

    def _failures_of_job(self) -> Iterator[str]:
        job = self.job
        if job.case.cached_steps < job.case.steps:
            yield f"a workflow's job took {job.case.cached_steps} of {job.case.steps} steps from the cache"
        if list(job.s3_access_keys) != [self.builder_access_key]:
            keys = list(job.s3_access_keys)
            yield f"in a workflow's job the cache bucket saw the keys {keys}, not the builders' alone"
        for left in job.left:
            yield f"a workflow's job left {left}"
        for denial in job.denied:
            yield f"in a workflow's job somebody was denied {denial}"

    def as_json(self) -> dict[str, Any]:
        """Return the report as `report.json` has it."""
        return {**asdict(self), "ratio": self.ratio, "failures": list(self.failures())}


def write(report: Report, path: Path) -> None:
    """Write `report.json`."""
    path.write_text(json.dumps(report.as_json(), indent=2) + "\n")


def show(report: Report, console: Console) -> None:
    """Print the table of times, and what failed."""
    table = Table(title="One image, two fleets, an emulated account: seconds of each case")
    for heading in ("case", "builder", "seconds", "cached steps", "S3 read", "S3 written"):
        table.add_column(heading, justify="left" if heading in ("case", "builder") else "right", no_wrap=True)
    for case in (*report.cases, report.job.case):
        table.add_row(
            case.name,
            "fresh" if case.fresh_builder else "same",
            f"{case.seconds:.1f}",
            f"{case.cached_steps} of {case.steps}",
            *(f"{size / 1e6:.1f} MB" for size in (case.s3_bytes_read, case.s3_bytes_written)),
        )
    console.print(table)
    exports = ", ".join(f"mode={mode} {seconds:.1f} s" for mode, seconds in report.export_seconds.items())
    console.print(f"First export, where the build had just run: {exports}; stored {report.stored_bytes / 1e6:.0f} MB")
    console.print(
        f"Unchanged on a fresh builder: {report.ratio:.1f} times as fast as without a cache "
        f"(the origin measured {ORIGIN_RATIO} times in AWS)"
    )
    replacement, tiers = report.replacement, report.tiers
    console.print(
        f"Builder replaced in the middle of a build: it drained for {replacement.drain_seconds:.1f} s, the build ended "
        f"well after {replacement.build_seconds:.1f} s, and the next builder found {replacement.cached_steps} of its "
        f"{replacement.steps} steps in the cache"
    )
    console.print(
        f"A pull request's build tried main's cache: {len(tiers.denied)} requests denied, {len(tiers.changed)} objects "
        f"changed; builders that let its client in: {', '.join(tiers.admitted)}"
    )
    console.print(
        f"A workflow's job was connected by its hook in {report.job.connect_seconds:.1f} s, built with the exported "
        f"options, and left {', '.join(report.job.left) or 'neither certificate nor builder'}"
    )
    total, types = sum(report.resources.values()), len(report.resources)
    console.print(f"{total} resources of {types} types read back and compared with their templates")
    for failure in report.failures():
        console.print(f"[bold red]FAILED[/] {failure}")
