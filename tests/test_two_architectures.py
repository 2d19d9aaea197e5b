"""One build for two architectures keeps both caches, because each architecture has a bucket: on two real builders."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheOptions, CacheScope, cache_name, cache_options
from local.client import Build, Client
from local.lab import ARCHITECTURE, Lab


@contextmanager
def two_fresh_builders(lab: Lab, environment: dict[str, str]) -> Iterator[Client]:
    with (
        lab.builder("main", Architecture.X86_64, environment) as x86_64,
        lab.builder("main", Architecture.ARM64, environment) as arm64,
    ):
        yield lab.client("main", {Architecture.X86_64: x86_64, Architecture.ARM64: arm64})


def build_twice(
    lab: Lab, context: Path, options: CacheOptions, arguments: list[str], environment: dict[str, str]
) -> Build:
    """Build on two fresh builders, throw them away, and return the same build on two others."""
    (context / "Dockerfile").write_text(
        'FROM busybox\nARG TARGETARCH\nRUN ["/bin/busybox", "sh", "-c", "echo $TARGETARCH >/built"]\n'
        "COPY Dockerfile /last\n"
    )
    with two_fresh_builders(lab, environment) as client:
        client.build(context, options=options, arguments=arguments)
    with two_fresh_builders(lab, environment) as client:
        return client.build(context, options=options, arguments=arguments)


def test_a_bucket_for_each_architecture_keeps_both_caches(
    lab: Lab, tmp_path: Path, busybox_arguments: list[str]
) -> None:
    options = cache_options(CacheScope("main"), cache_name("two", "each"))

    build = build_twice(lab, tmp_path, options, busybox_arguments, environment={})

    assert build.cached_steps == build.steps == 4


def test_one_bucket_for_both_would_lose_one_of_them(lab: Lab, tmp_path: Path, busybox_arguments: list[str]) -> None:
    options = cache_options(CacheScope("main"), cache_name("two", "shared"))
    shared = {"AWS_BUCKET": lab.deployment.cache_bucket(ARCHITECTURE)}

    build = build_twice(lab, tmp_path, options, busybox_arguments, environment=shared)

    assert build.cached_steps < build.steps == 4
