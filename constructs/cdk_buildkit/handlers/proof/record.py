"""What has been proven, kept where CloudFormation keeps it: in the custom resource's physical id."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Self

_HEAD = "proven"
_FINGERPRINT = re.compile(r"\b[0-9a-f]{64}\b")
_KEPT = 2
"""The fingerprint that is in force, and the one before. An update that fails later is rolled back to that one, with an
update of this resource too, which must not fail: https://github.com/aws/aws-cdk/pull/29581 has the order of events."""


@dataclass(frozen=True)
class Record:
    """The fingerprints that have been proven, the newest first."""

    fingerprints: tuple[str, ...]

    @classmethod
    def parse(cls, physical_id: str) -> Self:
        """Read a physical id; one that this function did not make holds nothing."""
        head, _, tail = physical_id.partition(":")
        return cls(tuple(_FINGERPRINT.findall(tail)) if head == _HEAD else ())

    def has(self, fingerprint: str) -> bool:
        """Tell whether it has been proven."""
        return fingerprint in self.fingerprints

    def with_newest(self, fingerprint: str) -> Self:
        """Return a record with this fingerprint in front."""
        others = (each for each in self.fingerprints if each != fingerprint)
        return type(self)((fingerprint, *others)[:_KEPT])

    def __str__(self) -> str:
        return f"{_HEAD}:{','.join(self.fingerprints)}"


def fingerprint(**launched: object) -> str:
    """Return what is different when a builder is launched in any other way.

    The launch template's version must be no part of it: a rollback makes a new version of the former data.

    Args:
        launched: What is launched and how, as AWS describes it.
    """
    text = json.dumps(launched, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
