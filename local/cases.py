"""The measured builds: one image without a cache, with the S3 cache on fresh builders, and after changes."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from local.client import Build, Client
from local.deployment import REPOSITORY
from local.emulator.request_log import S3Request
from local.lab import ARCHITECTURE, Lab, Reachable
from local.report import Case

FLEET = "main"
PROJECT = "example/node-app"
"""By which name the example has its cache: as a repository in GitHub would be called."""

NewBuilder = Callable[[str], AbstractContextManager[Reachable]]
EXAMPLE = REPOSITORY / "examples" / "node-app"
LAST_STAGE_CHANGE = ("config/banner.txt", "not for navigation", "not for sailing")
SOURCE_CHANGE = ("src/page.tsx", 'weekday: "short"', 'weekday: "long"')


class Cases:
    """The builds, in the order in which the cache fills; `context` and `base_image` are what they are made from.

    Args:
        lab: The deployment.
        context: Where the example is copied to.
        base_image: Arguments of `buildx build` that name the base image.
        progress: Told what is being done.
        new_builder: Boots a fresh builder of a fleet, and ends it with the block.
    """

    def __init__(
        self,
        lab: Lab,
        context: Path,
        base_image: list[str],
        progress: Callable[[str], None],
        new_builder: NewBuilder,
    ) -> None:
        shutil.copytree(EXAMPLE, context)
        self._lab = lab
        self.context = context
        self.base_image = base_image
        self._progress = progress
        self._new_builder = new_builder
        self.measured: list[Case] = []
        self.export_seconds: dict[str, float] = {}

    def run(self) -> None:
        """Build them all."""
        with self._fresh_client() as client:
            self._measure("no-cache", client, None)
            self.export_seconds["max"] = self.build("exporting mode=max", client, example_options("main")).seconds
            self._measure("same-builder", client, example_options("main"), fresh_builder=False)
        with self._fresh_client() as client:
            self._measure("s3-max-unchanged", client, example_options("main"))
        with self._fresh_client() as client, self.changed(*LAST_STAGE_CHANGE):
            self._measure("s3-max-final", client, example_options("change-final"))
        with self._fresh_client() as client, self.changed(*SOURCE_CHANGE):
            self._measure("s3-max-source", client, example_options("change-source"))
        # A builder that has compressed other layers for mode=max would export those too: it must be a fresh one.
        with self._fresh_client() as client:
            self.build("building for mode=min", client, None)
            self.export_seconds["min"] = self.build("exporting mode=min", client, example_options("min", "min")).seconds
        with self._fresh_client() as client:
            self._measure("s3-min-unchanged", client, example_options("min", "min"))

    @contextmanager
    def changed(self, file: str, old: str, new: str) -> Iterator[None]:
        """Have the example with a change, for as long as the block lasts."""
        path = self.context / file
        before = path.read_text()
        path.write_text(before.replace(old, new))
        try:
            yield
        finally:
            path.write_text(before)

    def build(
        self,
        what: str,
        client: Client,
        options: CacheOptions | None,
        *,
        started: Callable[[str], None] = lambda _: None,
    ) -> Build:
        """Build the example.

        Args:
            what: What it is for, in words for who waits.
            client: Who builds.
            options: The cache options, or None for no cache.
            started: Told the name of each step as it starts.

        Raises:
            BuildError: The build failed.
        """

        def progress(step: str) -> None:
            self._progress(f"{what}: {step}")
            started(step)

        return client.build(self.context, options=options, arguments=self.base_image, progress=progress)

    @contextmanager
    def _fresh_client(self) -> Iterator[Client]:
        with self._new_builder(FLEET) as builder:
            yield self._lab.client(FLEET, {ARCHITECTURE: builder})

    def _measure(self, name: str, client: Client, options: CacheOptions | None, *, fresh_builder: bool = True) -> None:
        position = self._lab.emulator.log.position
        build = self.build(name, client, options)
        self.measured.append(
            measured(name, build, self._lab.cache_requests(since=position), fresh_builder=fresh_builder)
        )


def measured(name: str, build: Build, requests: Sequence[S3Request], *, fresh_builder: bool = True) -> Case:
    """Return a build as the report has it, with what the cache bucket was asked meanwhile."""
    return Case(
        name=name,
        fresh_builder=fresh_builder,
        seconds=build.seconds,
        steps=build.steps,
        cached_steps=build.cached_steps,
        s3_bytes_read=sum(request.bytes_out for request in requests),
        s3_bytes_written=sum(request.bytes_in for request in requests),
    )


def example_options(branch: str, mode: str = "max") -> CacheOptions:
    """Return the cache options of a build of a branch, which falls back to the main branch's cache."""
    project = {"max": PROJECT, "min": f"{PROJECT}-min"}[mode]
    return cache_options(
        CacheScope(FLEET), cache_name(project, branch), fallback_names=[cache_name(project, "main")], mode=mode
    )
