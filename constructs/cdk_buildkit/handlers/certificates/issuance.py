"""Brings a fleet's secrets to what they should hold on a given day. May be called at any time, and again after a crash.

The order of the writes matters. An authority's key is kept before anybody is told to trust it, and it counts as
published only once both secrets have it: a call that dies in between is made good by the next one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509

from cdk_buildkit.handlers.certificates.authority import CLIENT, SERVER, Authority
from cdk_buildkit.handlers.certificates.rotation import (
    AUTHORITY_LIFE,
    CertificateLives,
    is_due,
    needs_successor,
    signer,
    still_trusted,
)
from cdk_buildkit.handlers.certificates.secret_store import Credential, SecretStore, Trust, UnreadableTrustError


@dataclass(frozen=True, kw_only=True)
class FleetCertificates:
    """What a fleet's certificates should be.

    Args:
        domain_name: The fleet's name, which its builders' certificate carries.
        generation: A higher one than before revokes every certificate.
        lives: How long they are valid.
        server_secret: The ARN of the secret that builders read.
        client_secret: The ARN of the secret that clients read.
    """

    domain_name: str
    generation: int
    lives: CertificateLives
    server_secret: str
    client_secret: str


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    secret: str
    use: x509.ObjectIdentifier
    name: str
    life: timedelta


def renew(store: SecretStore, fleet: FleetCertificates, now: datetime) -> list[str]:
    """Renew what is due, go on with a change of the authority, and issue what is missing or of another fleet.

    Returns:
        What was done, in words that may be logged. Nothing, on most days.

    Raises:
        StoreError: The authorities cannot be read, or another call changes them.
    """
    trust = store.read_trust()
    if trust is None or trust.generation < fleet.generation:
        return _start_anew(store, fleet, now, trust)
    done = []
    authorities = still_trusted(trust.authorities, fleet.lives, now)
    if len(authorities) < len(trust.authorities):
        done.append("dropped the former certificate authority")
    if needs_successor(authorities, fleet.lives, now):
        authorities.append(Authority.create(now, AUTHORITY_LIFE))
        done.append("introduced a certificate authority")
    if done:
        trust = store.write_trust(replace(trust, authorities=tuple(authorities)))
    return done + _distribute(store, fleet, now, trust)


def days_left(store: SecretStore, fleet: FleetCertificates, now: datetime) -> dict[str, float]:
    """Return for how many days the `server` and the `client` certificate that are given out are still valid."""
    held = {what: store.read_credential(wanted.secret) for what, wanted in _wanted(fleet).items()}
    return {
        what: round((credential.pair.not_after - now) / timedelta(days=1), 2) if credential else 0.0
        for what, credential in held.items()
    }


def revoke(store: SecretStore, fleet: FleetCertificates, now: datetime) -> list[str]:
    """Replace every authority and certificate at once, without an overlap, whatever the secrets hold.

    Returns:
        What was done, in words that may be logged.

    Raises:
        StoreError: Another call changes the authorities.
    """
    try:
        trust = store.read_trust()
    except UnreadableTrustError as error:
        trust = Trust(authorities=(), generation=fleet.generation, version=error.version)
    return _start_anew(store, fleet, now, trust)


def _start_anew(store: SecretStore, fleet: FleetCertificates, now: datetime, former: Trust | None) -> list[str]:
    trust = store.write_trust(
        Trust(
            authorities=(Authority.create(now, AUTHORITY_LIFE),),
            # A deployment that is rolled back names its former generation: it must not count as another revocation
            # when it is deployed again.
            generation=max(fleet.generation, former.generation if former else fleet.generation),
            version=former.version if former else None,
        )
    )
    done = ["revoked every former certificate"] if former else []
    return [*done, "made a certificate authority", *_distribute(store, fleet, now, trust)]


def _distribute(store: SecretStore, fleet: FleetCertificates, now: datetime, trust: Trust) -> list[str]:
    done = []
    authority = signer(trust.authorities, fleet.lives, now)
    for what, wanted in _wanted(fleet).items():
        if not _is_held(store, wanted, trust, authority, now):
            pair = authority.issue(wanted.use, wanted.name, now=now, life=wanted.life)
            store.write_credential(wanted.secret, Credential(bundle=trust.bundle, pair=pair))
            done.append(f"issued a {what} certificate until {pair.not_after:%Y-%m-%d}")
    if any(each.published is None for each in trust.authorities):
        store.write_trust(replace(trust, authorities=tuple(_published(each, now) for each in trust.authorities)))
    return done


def _wanted(fleet: FleetCertificates) -> dict[str, _Wanted]:
    return {
        "server": _Wanted(secret=fleet.server_secret, use=SERVER, name=fleet.domain_name, life=fleet.lives.server),
        "client": _Wanted(
            secret=fleet.client_secret, use=CLIENT, name=f"client.{fleet.domain_name}", life=fleet.lives.client
        ),
    }


def _is_held(store: SecretStore, wanted: _Wanted, trust: Trust, authority: Authority, now: datetime) -> bool:
    held = store.read_credential(wanted.secret)
    return (
        held is not None
        and held.bundle == trust.bundle
        and held.pair.is_issued_by(authority)
        and held.pair.is_for(wanted.use, wanted.name)
        and not is_due(held.pair.not_after, wanted.life, now)
    )


def _published(authority: Authority, now: datetime) -> Authority:
    return authority if authority.published else authority.publish(now)
