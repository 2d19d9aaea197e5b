"""When certificates are renewed and the authority that signs them changes: dates alone, no keys.

An authority changes without a day on which a builder and a client refuse each other. Its successor goes through:

1. **introduced**: it is trusted in everything that is given out, but signs nothing, until everybody who was given the
   former bundle has gone (`CertificateLives.spread`, counted from the day on which it was published);
2. **signing**: the former authority is still trusted, until the last certificate that it may have signed has expired
   (`CertificateLives.longest`);
3. **alone**: the former authority is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

AUTHORITY_LIFE = timedelta(days=730)
"""How long an authority's own certificate is valid."""

LATE_RENEWAL = timedelta(days=3)
"""The longest allowed time between two renewals that worked. They run daily."""

LATE_REPLACEMENT = timedelta(days=2)
"""How much longer than its maximum lifetime an instance may take to go: a lifecycle hook holds it for 48 hours."""

SHORTEST_LIFE = timedelta(days=24)
LONGEST_LIFE = timedelta(days=180)
"""Limits of a certificate's life. With longer ones more than two authorities could be trusted at once."""

_RESERVE = timedelta(days=30)  # an authority's change may begin this much too late before certificates are cut short


class Dated(Protocol):
    """What these rules need to know of an authority."""

    @property
    def not_after(self) -> datetime:
        """When its certificate expires."""
        ...

    @property
    def published(self) -> datetime | None:
        """When everything that is given out had begun to trust it, if it has."""
        ...


A = TypeVar("A", bound=Dated)


@dataclass(frozen=True, kw_only=True)
class CertificateLives:
    """How long a fleet's certificates are valid, and what follows from that.

    Args:
        server: The builders' certificate.
        client: The clients' certificate.

    Raises:
        ValueError: One is shorter than 24 or longer than 180 days.
    """

    server: timedelta = timedelta(days=90)
    client: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        for what, life in (("server", self.server), ("client", self.client)):
            if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
                raise ValueError(
                    f"a {what} certificate's life is {SHORTEST_LIFE.days} to {LONGEST_LIFE.days} days, so that it can "
                    f"be renewed in time and outlives no authority; got {life.total_seconds() / 86400:g} days: move it "
                    "inside"
                )

    @property
    def longest(self) -> timedelta:
        """The longest life of a certificate."""
        return max(self.server, self.client)

    @property
    def longest_instance_lifetime(self) -> timedelta:
        """The longest that an Auto Scaling group may let a builder live.

        A builder reads its certificate once, at its boot. At the worst that has a third of its life left, less a late
        renewal; and the builder may go late.
        """
        return self.server / 3 - LATE_RENEWAL - LATE_REPLACEMENT

    @property
    def longest_client_use(self) -> timedelta:
        """The longest that a client may use the certificate that it has fetched."""
        return self.client / 3 - LATE_RENEWAL

    @property
    def spread(self) -> timedelta:
        """How long it takes until nobody uses a bundle any more that was replaced."""
        return max(self.longest_instance_lifetime + LATE_REPLACEMENT, self.longest_client_use)


def is_due(not_after: datetime, life: timedelta, now: datetime) -> bool:
    """Tell whether a certificate has a third of its life left, or less."""
    return not_after - now <= life / 3


def still_trusted(authorities: Sequence[A], lives: CertificateLives, now: datetime) -> list[A]:
    """Return the authorities, oldest first, without those whose time is over."""
    valid = [each for each in authorities if each.not_after > now]
    while len(valid) > 1 and (start := _signing_since(valid[1], lives)) and start + lives.longest <= now:
        valid.pop(0)
    return valid


def needs_successor(authorities: Sequence[Dated], lives: CertificateLives, now: datetime) -> bool:
    """Tell whether a change must begin: the newest authority could soon sign no certificate of full life."""
    if not authorities:
        return True
    return authorities[-1].not_after - now <= lives.spread + lives.longest + _RESERVE


def signer(authorities: Sequence[A], lives: CertificateLives, now: datetime) -> A:
    """Return the authority that signs: the newest that everybody has had the time to learn to trust."""
    known = [each for each in authorities[1:] if (start := _signing_since(each, lives)) and start <= now]
    return (known or [authorities[0]])[-1]


def _signing_since(authority: Dated, lives: CertificateLives) -> datetime | None:
    return authority.published + lives.spread if authority.published else None
