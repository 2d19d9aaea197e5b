"""The main job: deploy, build, throw the builder away, build again on a fresh one; then what else is promised."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from local.base_image import base_image_option
from local.cases import FLEET, Cases, NewBuilder
from local.client import DECOY_ACCESS_KEY
from local.deployment import REPOSITORY
from local.emulator.read_back import read_back
from local.emulator.request_log import refusals
from local.go_programs import CACHE
from local.kubernetes.cluster import Cluster
from local.kubernetes.replacement import replace_a_pod
from local.lab import ARCHITECTURE, Lab
from local.replacement import replace_a_builder
from local.report import Report
from local.tiers import try_tiers
from local.toolchain import install_toolchain
from local.workflow import run_a_job

CONFIGURATIONS = {"ec2": REPOSITORY / "builders.toml", "eks": REPOSITORY / "examples" / "eks.toml"}
"""What is deployed, by what the builders run on."""


def run(directory: Path, compute: str, progress: Callable[[str], None]) -> Report:
    """Run every case, and return what was found.

    Args:
        directory: For everything that is written; the caller removes it.
        compute: What the builders run on, `ec2` or `eks`.
        progress: Told what is being done.
    """
    toolchain = install_toolchain(progress)
    progress("making the base image")
    base_image = base_image_option(CACHE / "images", progress=progress)
    with (
        Lab(directory, config=CONFIGURATIONS[compute], toolchain=toolchain, progress=progress) as lab,
        ExitStack() as resources,
    ):
        lab.deploy()
        cluster = (
            resources.enter_context(Cluster(lab, directory / "pods", toolchain=toolchain)) if compute == "eks" else None
        )
        progress("reading every resource back")
        compared = read_back(lab.emulator.endpoint_url, lab.deployment.assembly)
        deployed = lab.emulator.log.position
        new_builder: NewBuilder = cluster.builder if cluster else lab.builder
        cases = Cases(lab, directory / "context", base_image, progress, new_builder)
        cases.run()
        replacement = (
            replace_a_pod(lab, cluster, cases, progress) if cluster else replace_a_builder(lab, cases, progress)
        )
        records = list(lab.emulator.log.since())
        cache_requests = lab.cache_requests(since=deployed)
        stored_bytes = sum(size for size, *_ in lab.deployment.objects(ARCHITECTURE).values())
        tiers = try_tiers(lab, directory / "tiers", progress, new_builder)
        job = run_a_job(lab, cases, directory / "runner", progress, new_builder)
        return Report(
            cases=cases.measured,
            replacement=replacement,
            tiers=tiers,
            job=job,
            export_seconds=cases.export_seconds,
            s3_access_keys=sorted({request.access_key or "unsigned" for request in cache_requests}),
            builder_access_key=(cluster or lab).credentials(FLEET)["AccessKeyId"],
            client_decoy_key=DECOY_ACCESS_KEY,
            denied=refusals(records),
            stored_bytes=stored_bytes,
            resources=dict(sorted(compared.compared.items())),
            unchecked=[f"{kind}.{name}" for kind, names in compared.unchecked.items() for name in sorted(names)],
            differences=list(map(str, compared.differences)),
            versions=toolchain.versions,
        )
