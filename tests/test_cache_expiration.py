"""The ages of blobs and manifests, proved with a model of what BuildKit and S3 do over time.

Times are whole minutes since a midnight UTC. Nothing in the model knows of the margin: it plays S3's lifecycle rules
and BuildKit's exports and imports, and looks whether an import ever asks for a blob that is gone.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from buildkit_ops import cache_expiration
from buildkit_ops.cache_expiration import (
    LATE_REMOVAL_DAYS,
    LONGEST_EXPORT,
    TOUCH_REFRESH,
    CacheExpiration,
    expiration_margin_days,
)

HOUR = 60
DAY = 24 * HOUR
BUILDKIT_TOUCH_REFRESH = DAY  # the default of its option touch_refresh
MOST_LATENESS = LATE_REMOVAL_DAYS * DAY
SCHEDULES = 100_000
SEED = 20240229


@dataclass
class S3Object:
    """One key with its whole history: when each version could be seen, was last modified, and was removed."""

    versions: list[tuple[int, int, int]] = field(default_factory=list)

    def put(self, visible: int, last_modified: int, days: int, lateness: int) -> None:
        """Write the object. It expires at the first midnight UTC at or after its age, and is removed some time later.

        A multipart upload is last modified when it was begun, and visible when it is complete.
        """
        midnight = -(-(last_modified + days * DAY) // DAY) * DAY
        self.versions.append((visible, last_modified, midnight + lateness))

    def last_modified(self, time: int) -> int | None:
        """What HeadObject answers, None for 404: the latest version that is visible by then, if it is not removed."""
        latest = max((each for each in self.versions if each[0] <= time), default=None)
        return latest[1] if latest and time < latest[2] else None


@dataclass(frozen=True)
class Export:
    """One `--cache-to`: it looks at each blob at some time while it runs, and writes its manifest at its end."""

    name: str
    looks: dict[str, int]
    end: int


class Schedule:
    """A random history of one scope.

    Half of them are the adversary's: S3 removes blobs as early and manifests as late as it may.
    """

    def __init__(self, rng: random.Random, *, manifest_days: int, blob_days: int, longest_build: int) -> None:
        self._rng = rng
        self._adversary = rng.random() < 0.5
        self._manifest_days = manifest_days
        self._blob_days = blob_days
        self._longest_build = longest_build
        self._blobs = {digest: S3Object() for digest in "xyz"}
        self._exports = self._plan()
        # What an import can find: the manifest's name, when it was written and by when S3 has removed it.
        self._manifests: list[tuple[Export, int]] = []

    def breaks_a_build(self) -> bool:
        """Play the history, then let builds import from it: they change nothing in S3."""
        self._play()
        return any(self._import_fails(position) for position in range(len(self._manifests)) for _ in range(2))

    def _plan(self) -> list[Export]:
        rng, exports = self._rng, []
        longest = LONGEST_EXPORT // timedelta(minutes=1)
        start = self._near(0, DAY)
        for _ in range(rng.randint(2, 4)):
            duration = rng.choice((longest, rng.randint(0, longest)))
            digests = rng.sample("xyz", rng.randint(1, 3))
            looks = {digest: start + rng.choice((0, rng.randint(0, duration))) for digest in digests}
            exports.append(Export(rng.choice(("main", "feature", "other")), looks, start + duration))
            # Another export soon, about when blobs are due for a touch, or any time until all has expired.
            gap = rng.randrange(3)
            if gap == 0:
                start += rng.randint(0, 2 * longest)
            elif gap == 1:
                start = self._near(start + BUILDKIT_TOUCH_REFRESH, 2 * HOUR)
            else:
                start = self._near(start + rng.randint(0, (self._blob_days + 4) * DAY), DAY)
        return exports

    def _near(self, time: int, spread: int) -> int:
        """Some time within the spread, often in the hour after midnight, where the rounding to whole days bites."""
        time += self._rng.randint(0, spread)
        return time if self._rng.random() < 0.5 else -(-time // DAY) * DAY + self._rng.randint(0, HOUR) - HOUR // 2

    def _play(self) -> None:
        steps = [(time, False, digest, export) for export in self._exports for digest, time in export.looks.items()]
        steps += [(export.end, True, "", export) for export in self._exports]
        failed: list[Export] = []
        for time, is_end, digest, export in sorted(steps, key=lambda step: step[:3]):
            if export in failed:
                continue
            if is_end:
                midnight = -(-(time + self._manifest_days * DAY) // DAY) * DAY
                self._manifests.append((export, midnight + self._lateness(MOST_LATENESS)))
            elif not self._export_blob(self._blobs[digest], time, export.end):
                failed.append(export)

    def _export_blob(self, blob: S3Object, time: int, end: int) -> bool:
        """Do what BuildKit does with one layer, and tell whether the export goes on."""
        last_modified = blob.last_modified(time)
        if last_modified is None:
            if self._rng.random() < 0.1:
                return False  # the builder never fetched this layer: it has nothing to upload
            visible = self._rng.choice((time, self._rng.randint(time, end)))
            blob.put(visible, time, self._blob_days, self._lateness(0))
        elif time - last_modified > BUILDKIT_TOUCH_REFRESH:
            blob.put(time, time, self._blob_days, self._lateness(0))  # CopyObject onto itself
        return True

    def _lateness(self, adversarys: int) -> int:
        return adversarys if self._adversary else self._rng.randint(0, MOST_LATENESS)

    def _import_fails(self, position: int) -> bool:
        """Start a build that reads the manifest while it is there, and asks for its blobs until the build's end."""
        export, removed = self._manifests[position]
        replaced = min(
            (later.end for later, _ in self._manifests[position + 1 :] if later.name == export.name), default=removed
        )
        gone = min(removed, replaced)
        if gone <= export.end:
            return False
        start = self._rng.choice((gone - 1, self._rng.randint(export.end, gone - 1)))
        asks = (
            self._rng.choice((self._longest_build, self._rng.randint(0, self._longest_build))) for _ in export.looks
        )
        return any(
            self._blobs[digest].last_modified(start + ask) is None
            for digest, ask in zip(export.looks, asks, strict=True)
        )


def broken_builds(margin: int, longest_build: timedelta, *, schedules: int) -> Iterator[int]:
    """Yield the number of each random schedule with a build that lost a blob, for these days between the ages."""
    print(f"seed {SEED}, margin {margin} days")  # noqa: T201 - pytest shows it when a test fails
    rng = random.Random(SEED)  # noqa: S311 - schedules, not secrets
    for number in range(schedules):
        manifest_days = rng.randint(1, 4)
        schedule = Schedule(
            rng,
            manifest_days=manifest_days,
            blob_days=manifest_days + margin,
            longest_build=longest_build // timedelta(minutes=1),
        )
        if schedule.breaks_a_build():
            yield number


def test_the_model_touches_as_late_as_the_margin_allows_for() -> None:
    assert timedelta(minutes=BUILDKIT_TOUCH_REFRESH) == TOUCH_REFRESH


def test_no_build_of_a_hundred_thousand_schedules_loses_a_blob_at_the_margin() -> None:
    longest_build = timedelta(hours=1)
    margin = expiration_margin_days(longest_build)

    assert next(broken_builds(margin, longest_build, schedules=SCHEDULES), None) is None


def test_no_build_that_is_longer_than_a_day_loses_a_blob_at_its_margin() -> None:
    longest_build = timedelta(hours=30)
    margin = expiration_margin_days(longest_build)

    assert next(broken_builds(margin, longest_build, schedules=SCHEDULES // 5), None) is None


def test_a_build_loses_a_blob_when_the_margin_is_a_day_smaller() -> None:
    longest_build = timedelta(hours=1)
    margin = expiration_margin_days(longest_build)

    assert next(broken_builds(margin - 1, longest_build, schedules=SCHEDULES), None) is not None


def test_builds_lose_blobs_when_both_have_one_age() -> None:
    assert len(list(broken_builds(0, timedelta(hours=1), schedules=100))) > 10


@pytest.mark.parametrize(
    ("term", "nothing"), [("TOUCH_REFRESH", timedelta(0)), ("MIDNIGHT_ROUNDING_DAYS", 0), ("LATE_REMOVAL_DAYS", 0)]
)
def test_a_build_loses_a_blob_when_the_margin_lacks_a_term(
    monkeypatch: pytest.MonkeyPatch, term: str, nothing: object
) -> None:
    monkeypatch.setattr(cache_expiration, term, nothing)
    longest_build = timedelta(hours=1)
    margin = expiration_margin_days(longest_build)

    assert next(broken_builds(margin, longest_build, schedules=SCHEDULES), None) is not None


def test_a_build_loses_a_blob_when_the_margin_lacks_its_own_length() -> None:
    margin = expiration_margin_days(timedelta(0))

    assert next(broken_builds(margin, timedelta(hours=30), schedules=SCHEDULES), None) is not None


def test_the_margin_of_a_build_of_an_hour_is_six_days() -> None:
    assert expiration_margin_days(timedelta(hours=1)) == 6


def test_the_default_ages_keep_the_margin() -> None:
    assert CacheExpiration().blob_days >= CacheExpiration().manifest_days + expiration_margin_days(timedelta(hours=1))


def test_the_margin_itself_is_accepted() -> None:
    assert CacheExpiration(blob_days=7, manifest_days=1).blob_days == 7


def test_ages_without_the_margin_are_refused_with_the_ages_that_would_do() -> None:
    words = (
        r"^blobs must outlive manifests by at least 6 days, or builds fail on a missing blob; got blobs 14 days, "
        r"manifests 14 days: raise the blobs' age to 20 days or lower the manifests'$"
    )

    with pytest.raises(ValueError, match=words):
        CacheExpiration(blob_days=14, manifest_days=14)


def test_a_longer_build_needs_a_larger_margin() -> None:
    with pytest.raises(ValueError, match="at least 7 days"):
        CacheExpiration(blob_days=27, manifest_days=21, longest_build=timedelta(hours=30))


def test_manifests_that_live_less_than_a_day_are_refused() -> None:
    with pytest.raises(ValueError, match="manifests must live at least 1 day; got 0: raise manifest_days"):
        CacheExpiration(manifest_days=0)
