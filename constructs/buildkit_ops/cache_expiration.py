"""The rule that keeps a cache from breaking builds: how much longer blobs must live than manifests."""

import math
from dataclasses import dataclass
from datetime import timedelta

TOUCH_REFRESH = timedelta(hours=24)
"""BuildKit's default `touch_refresh`: an export copies a blob onto itself once it is older than this."""

LONGEST_EXPORT = timedelta(hours=1)
"""Allowance for one cache export, from its first look at a blob to its manifest."""

MIDNIGHT_ROUNDING_DAYS = 1
"""S3 rounds an object's expiry up to the next midnight UTC."""

LATE_REMOVAL_DAYS = 3
"""Allowance for S3 removing an expired manifest late. Beyond it `cache verify --repair` mends."""


def expiration_margin_days(longest_build: timedelta) -> int:
    """Return the least number of days by which blobs must outlive manifests.

    A build fails when it imports a manifest that names a blob which S3 has removed. Let an export end at T. It has
    looked at each blob no earlier than T - `LONGEST_EXPORT`, and uploaded it, or touched it, or found it younger
    than `TOUCH_REFRESH`; so each named blob was last modified at T - `LONGEST_EXPORT` - `TOUCH_REFRESH` or later,
    and may be gone, when S3 is as quick as can be, `blob days` after that. The manifest may be read, when S3 is as
    slow as is allowed for, until T + `manifest days` + `MIDNIGHT_ROUNDING_DAYS` + `LATE_REMOVAL_DAYS`, and the build
    that read it then asks for blobs until its own end, `longest_build` later. The blobs are still there when

        blob days - manifest days >= ceil(TOUCH_REFRESH + longest_build + LONGEST_EXPORT)
                                     + MIDNIGHT_ROUNDING_DAYS + LATE_REMOVAL_DAYS

    Args:
        longest_build: The longest build of any fleet that reads the cache.
    """
    spread = TOUCH_REFRESH + longest_build + LONGEST_EXPORT
    return math.ceil(spread / timedelta(days=1)) + MIDNIGHT_ROUNDING_DAYS + LATE_REMOVAL_DAYS


@dataclass(frozen=True, kw_only=True)
class CacheExpiration:
    """After how many days S3 removes what no export has refreshed.

    Args:
        blob_days: Age at which a layer expires, counted from its last upload or touch.
        manifest_days: Age at which a manifest expires, counted from its last export.
        longest_build: The longest build of any fleet that reads the cache.

    Raises:
        ValueError: An age is under a day, or blobs do not outlive manifests by `expiration_margin_days`.
    """

    blob_days: int = 30
    manifest_days: int = 21
    longest_build: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        margin = expiration_margin_days(self.longest_build)
        if self.manifest_days < 1:
            raise ValueError(f"manifests must live at least 1 day; got {self.manifest_days}: raise manifest_days")
        if self.blob_days < self.manifest_days + margin:
            raise ValueError(
                f"blobs must outlive manifests by at least {margin} days, or builds fail on a missing blob; got blobs "
                f"{self.blob_days} days, manifests {self.manifest_days} days: raise the blobs' age to "
                f"{self.manifest_days + margin} days or lower the manifests'"
            )
