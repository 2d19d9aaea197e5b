"""The cache in a repository of ECR, for builds that are not on a fleet: the other form beside `cache_options`."""

import hashlib
import re
from dataclasses import dataclass

from buildkit_ops.architecture import Architecture
from buildkit_ops.cache_scope import CacheOptions, cache_name
from buildkit_ops.failures import NO_REPOSITORY, ToolError

LONGEST_TAG = 128
"""Characters of an image's tag (https://github.com/opencontainers/distribution-spec/blob/main/spec.md)."""

_URI = re.compile(
    r"(?P<registry>\d{12})\.dkr[.-]ecr\.(?P<region>[a-z0-9-]+)\.[a-z.]+/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of ECR.

    Args:
        uri: Its URI.
        registry: The account that has it.
        region: Its region.
        name: Its name.
    """

    uri: str
    registry: str
    region: str
    name: str


def read_repository(uri: str | None) -> Repository:
    """Read a repository's URI.

    Raises:
        ToolError: It is none of ECR's.
    """
    found = _URI.fullmatch(uri or "")
    if not found:
        raise ToolError(NO_REPOSITORY, given=uri)
    return Repository(uri=found[0], registry=found["registry"], region=found["region"], name=found["name"])


def cache_tag(project: str, branch: str, architecture: Architecture) -> str:
    """Name the tag of one project's branch, for one architecture.

    No two branches share one: what a tag cannot hold is written as `_` and its bytes in hexadecimal digits. A tag over
    128 characters keeps its head and ends in `__` and its SHA-256, which no other has.

    Raises:
        ValueError: Project or branch is empty.
    """
    encoded = re.sub(r"[^A-Za-z0-9.-]", lambda each: f"_{ord(each[0]):02x}", cache_name(project, branch))
    tag = f"cache-{architecture.oci_name}-{encoded}"
    if len(tag) <= LONGEST_TAG:
        return tag
    tail = "__" + hashlib.sha256(tag.encode()).hexdigest()
    return tag[: LONGEST_TAG - len(tail)] + tail


def registry_cache_options(repository: Repository, tag: str, *, source: str | None = None) -> CacheOptions:
    """Write the options of a cache that is an image in a repository.

    The client pushes and pulls it with its own rights in the registry. A failing export never fails the build.

    Args:
        repository: The repository.
        tag: The tag of the branch that is built, from `cache_tag`.
        source: The tag to import. Default: the same.
    """
    place = f"type=registry,ref={repository.uri}"
    return CacheOptions(
        cache_from=(f"{place}:{source or tag}",),
        # ECR takes a cache as an image's manifest alone.
        cache_to=(f"{place}:{tag},mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true",),
    )
