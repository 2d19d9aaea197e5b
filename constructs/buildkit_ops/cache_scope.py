"""The cache's key space: where a scope keeps manifests and blobs, and the options that make BuildKit use it.

`cache_options` is the one place that writes `--cache-from` and `--cache-to` values.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

LONGEST_NAME = 200
"""Bytes of a cache name. S3 allows keys of 1,024 bytes; a builder's log line should still fit on a screen."""

_SCOPE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_HASH_MARK = "!"  # safe in an S3 key, and never left unencoded in a name: no short name can look like a hashed one


@dataclass(frozen=True)
class CacheScope:
    """One trust tier's part of a cache bucket.

    BuildKit's own `prefix=<name>/` puts everything below one key prefix, so that a scope has lifecycle rules and
    an IAM resource of its own. Inside a scope all projects share blobs.

    Args:
        name: 1 to 32 lower-case letters, digits and hyphens; a letter first, no hyphen last.

    Raises:
        ValueError: The name is not of that form.
    """

    name: str

    def __post_init__(self) -> None:
        if not _SCOPE_NAME.fullmatch(self.name):
            raise ValueError(
                "a cache scope's name is 1 to 32 lower-case letters, digits and hyphens, begins with a letter and "
                f"does not end with a hyphen; got {self.name!r}: rename it, for example to 'main'"
            )

    @property
    def prefix(self) -> str:
        """The key prefix of everything in the scope, BuildKit's `prefix` option: `main/`."""
        return f"{self.name}/"

    @property
    def manifests_prefix(self) -> str:
        """The key prefix of the manifests: `main/manifests/`."""
        return f"{self.prefix}manifests/"

    @property
    def blobs_prefix(self) -> str:
        """The key prefix of the layers: `main/blobs/`."""
        return f"{self.prefix}blobs/"


@dataclass(frozen=True)
class CacheOptions:
    """The cache options of one build, as `docker buildx build`, `docker buildx bake` and `buildctl` read them."""

    cache_from: tuple[str, ...]
    """Values of `--cache-from`, in the order in which BuildKit asks them."""

    cache_to: tuple[str, ...]
    """Values of `--cache-to`."""

    @property
    def arguments(self) -> list[str]:
        """The options as command line arguments of `docker buildx build`."""
        imports = [argument for value in self.cache_from for argument in ("--cache-from", value)]
        exports = [argument for value in self.cache_to for argument in ("--cache-to", value)]
        return imports + exports


def cache_name(project: str, branch: str) -> str:
    """Name the cache of one project's branch: both percent-encoded, joined by `/`.

    Encoding covers `/`, `,` and `;`, which separate keys, options and names. A name over 200 bytes keeps its head
    and ends in `!` and its SHA-256.

    Raises:
        ValueError: Project or branch is empty.
    """
    for what, value in (("project", project), ("branch", branch)):
        if not value:
            raise ValueError(f"a cache name needs a {what}; got an empty string: pass for example 'app' and 'main'")
    name = f"{_encode(project)}/{_encode(branch)}"
    if len(name) <= LONGEST_NAME:
        return name
    tail = _HASH_MARK + hashlib.sha256(name.encode()).hexdigest()
    return name[: LONGEST_NAME - len(tail)] + tail


def cache_options(
    scope: CacheScope,
    name: str,
    *,
    fallback_names: Sequence[str] = (),
    read_scopes: Sequence[CacheScope] = (),
    source: tuple[CacheScope, str] | None = None,
    mode: str = "max",
) -> CacheOptions:
    """Write the options with which a build uses a fleet's cache.

    Bucket, region and credentials are left to the builder's environment and role. Both keys are given, empty:
    without them buildx finds credentials on the client and sends them to the builder, where they win over the
    role's. A failing export never fails the build.

    Args:
        scope: The scope that the fleet writes.
        name: From `cache_name`, the branch that is built. It is exported to, and imported first.
        fallback_names: From `cache_name`, for example of the default branch. Imported next, in this order. Default:
            none. With two imports that share steps BuildKit v0.31.2 at times follows one alone, and builds again what
            only the other has (https://github.com/moby/buildkit/issues/6418; seen in 2 of 10 builds on fresh builders,
            and in 0 of 5 with one import): name a fallback where the branch may have no cache yet.
        read_scopes: Other scopes that the fleet may read, imported last, under the same names. Default: none.
        source: The scope and the name of the one cache to import, in place of all these: what the fleet's function has
            chosen among them. Default: nothing has been chosen.
        mode: `max` keeps the layers of every stage, `min` those of the final image.

    Raises:
        ValueError: The mode is neither, a name holds a character that `cache_name` would have encoded, or a source is
            given together with what it was chosen from.
    """
    if source and (fallback_names or read_scopes):
        raise ValueError(
            "a source is the one cache that is imported; got it together with fallback_names or read_scopes: leave "
            "those out, or the source"
        )
    if mode not in ("max", "min"):
        raise ValueError(f"a cache export's mode is 'max' or 'min'; got {mode!r}: use 'max' to keep every stage")
    names = tuple(dict.fromkeys((name, *fallback_names)))
    for each in (*names, *([source[1]] if source else [])):
        if not each or re.search(r"[^A-Za-z0-9_.~%/!-]", each):
            raise ValueError(f"a cache name is what cache_name(project, branch) returns; got {each!r}: pass it through")
    pairs = [source] if source else [(each, one) for each in dict.fromkeys((scope, *read_scopes)) for one in names]
    imports = tuple(_option(each, one) for each, one in pairs)
    return CacheOptions(cache_from=imports, cache_to=(f"{_option(scope, name)},mode={mode},ignore-error=true",))


def _option(scope: CacheScope, name: str) -> str:
    return f"type=s3,prefix={scope.prefix},name={name},access_key_id=,secret_access_key="


def _encode(part: str) -> str:
    return part.replace(".", "%2E") if part in (".", "..") else quote(part, safe="")
