"""The main job: deploy, build, throw the builder away, build again on a fresh one."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from local.base_image import base_image_option
from local.client import DECOY_ACCESS_KEY, Build, Client
from local.deployment import REPOSITORY
from local.emulator.read_back import read_back
from local.emulator.request_log import Denial, Failure
from local.lab import ARCHITECTURE, Lab
from local.report import Case, Report
from local.toolchain import CACHE, install_toolchain

FLEET = "main"
EXAMPLE = REPOSITORY / "examples" / "node-app"
LAST_STAGE_CHANGE = ("config/banner.txt", "not for navigation", "not for sailing")
SOURCE_CHANGE = ("src/page.tsx", 'weekday: "short"', 'weekday: "long"')


def run(directory: Path, progress: Callable[[str], None]) -> Report:
    """Run every case in a directory that is the caller's to remove, and return what was found."""
    toolchain = install_toolchain(progress)
    progress("making the base image")
    base_image = base_image_option(CACHE / "images", progress=progress)
    with Lab(directory, config=REPOSITORY / "builders.toml", toolchain=toolchain, progress=progress) as lab:
        lab.deploy()
        progress("reading every resource back")
        compared = read_back(lab.emulator.endpoint_url, lab.deployment.assembly)
        deployed = lab.emulator.log.position
        cases = _Cases(lab, directory / "context", base_image, progress)
        cases.run()
        records = list(lab.emulator.log.since())
        return Report(
            cases=cases.measured,
            export_seconds=cases.export_seconds,
            s3_access_keys=sorted({request.access_key or "unsigned" for request in lab.cache_requests(since=deployed)}),
            builder_access_key=lab.credentials(FLEET)["AccessKeyId"],
            client_decoy_key=DECOY_ACCESS_KEY,
            denied=[
                *(f"{each.action} on {each.resource} ({each.reason})" for each in records if isinstance(each, Denial)),
                *(f"{each.service}: {each.message}" for each in records if isinstance(each, Failure)),
            ],
            stored_bytes=lab.deployment.stored_bytes(ARCHITECTURE),
            resources=dict(sorted(compared.compared.items())),
            unchecked=[f"{kind}.{name}" for kind, names in compared.unchecked.items() for name in sorted(names)],
            differences=list(map(str, compared.differences)),
            versions=toolchain.versions,
        )


class _Cases:
    """The builds, in the order in which the cache fills."""

    def __init__(self, lab: Lab, context: Path, base_image: list[str], progress: Callable[[str], None]) -> None:
        shutil.copytree(EXAMPLE, context)
        self._lab = lab
        self._context = context
        self._base_image = base_image
        self._progress = progress
        self.measured: list[Case] = []
        self.export_seconds: dict[str, float] = {}

    def run(self) -> None:
        with self._fresh_client() as client:
            self._measure("no-cache", client, None)
            self.export_seconds["max"] = self._build("exporting mode=max", client, _options("main")).seconds
            self._measure("same-builder", client, _options("main"), fresh_builder=False)
        with self._fresh_client() as client:
            self._measure("s3-max-unchanged", client, _options("main"))
        with self._fresh_client() as client, self._changed(*LAST_STAGE_CHANGE):
            self._measure("s3-max-final", client, _options("change-final"))
        with self._fresh_client() as client, self._changed(*SOURCE_CHANGE):
            self._measure("s3-max-source", client, _options("change-source"))
        # A builder that has compressed other layers for mode=max would export those too: it must be a fresh one.
        with self._fresh_client() as client:
            self._build("building for mode=min", client, None)
            self.export_seconds["min"] = self._build("exporting mode=min", client, _options("min", "min")).seconds
        with self._fresh_client() as client:
            self._measure("s3-min-unchanged", client, _options("min", "min"))

    @contextmanager
    def _fresh_client(self) -> Iterator[Client]:
        with self._lab.builder(FLEET) as builder:
            yield self._lab.client(FLEET, {ARCHITECTURE: builder})

    @contextmanager
    def _changed(self, file: str, old: str, new: str) -> Iterator[None]:
        path = self._context / file
        before = path.read_text()
        path.write_text(before.replace(old, new))
        try:
            yield
        finally:
            path.write_text(before)

    def _measure(self, name: str, client: Client, options: CacheOptions | None, *, fresh_builder: bool = True) -> None:
        position = self._lab.emulator.log.position
        build = self._build(name, client, options)
        requests = self._lab.cache_requests(since=position)
        self.measured.append(
            Case(
                name=name,
                fresh_builder=fresh_builder,
                seconds=build.seconds,
                steps=build.steps,
                cached_steps=build.cached_steps,
                s3_bytes_read=sum(request.bytes_out for request in requests),
                s3_bytes_written=sum(request.bytes_in for request in requests),
            )
        )

    def _build(self, what: str, client: Client, options: CacheOptions | None) -> Build:
        return client.build(
            self._context,
            options=options,
            arguments=self._base_image,
            progress=lambda step: self._progress(f"{what}: {step}"),
        )


def _options(branch: str, mode: str = "max") -> CacheOptions:
    project = {"max": "node-app", "min": "node-app-min"}[mode]
    return cache_options(
        CacheScope(FLEET), cache_name(project, branch), fallback_names=[cache_name(project, "main")], mode=mode
    )
