"""Years of renewals, day by day: no builder and no client that are alive ever fail to verify each other."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from cdk_buildkit.handlers.certificates import rotation
from cdk_buildkit.handlers.certificates.issuance import FleetCertificates, renew
from cdk_buildkit.handlers.certificates.rotation import CertificateLives
from cdk_buildkit.handlers.certificates.secret_store import Credential, SecretStore, Trust

DOMAIN_NAME = "main.buildkit.internal"
DAY = timedelta(days=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = 5 * 365  # three authorities or more


class CrashError(Exception):
    """The function died before a write."""


class Secrets(SecretStore):
    """The fleet's secrets in memory, in a process that may die before any of its writes."""

    def __init__(self) -> None:
        self.trust: Trust | None = None
        self.credentials: dict[str, Credential] = {}
        self.writes_left: float = float("inf")

    def read_trust(self) -> Trust | None:
        return self.trust

    def write_trust(self, trust: Trust) -> Trust:
        self._write()
        self.trust = trust
        return trust

    def read_credential(self, secret: str) -> Credential | None:
        return self.credentials.get(secret)

    def write_credential(self, secret: str, credential: Credential) -> None:
        self._write()
        self.credentials[secret] = credential

    def _write(self) -> None:
        if not self.writes_left:
            raise CrashError
        self.writes_left -= 1


@dataclass(frozen=True)
class Party:
    """A builder or a client, with what it was given when it began."""

    credential: Credential
    gone: datetime


def fleet(lives: CertificateLives) -> FleetCertificates:
    return FleetCertificates(
        domain_name=DOMAIN_NAME,
        generation=1,
        lives=lives,
        server_secret="server",  # noqa: S106 - a name
        client_secret="client",  # noqa: S106 - a name
    )


@cache
def bundle(text: str) -> Store:
    return Store(x509.load_pem_x509_certificates(text.encode()))


@cache
def leaf(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def verify(server: Credential, client: Credential, now: datetime) -> None:
    """Verify each side as the other does: chain, dates, use and, for the server, its name."""

    PolicyBuilder().store(bundle(client.bundle)).time(now).build_server_verifier(x509.DNSName(DOMAIN_NAME)).verify(
        leaf(server.pair.certificate), []
    )
    PolicyBuilder().store(bundle(server.bundle)).time(now).build_client_verifier().verify(
        leaf(client.pair.certificate), []
    )


def live(
    lives: CertificateLives,
    *,
    runs: Callable[[int], float],
    builder_use: timedelta | None = None,
    days: int = DAYS,
) -> tuple[list[str], int, int]:
    """Let builders and clients come and go, and try every pair that lives, daily just before and after the function.

    Args:
        lives: How long certificates are valid.
        runs: The number of writes for which the function lives on a given day, 0 if it does not run at all.
        builder_use: How long a builder lives. Default: the longest allowed instance lifetime, and late.
        days: How long all this goes on.

    Returns:
        What failed, how many authorities there were, and the most that were trusted at once.
    """
    secrets, failures, authorities, most = Secrets(), [], set(), 0
    builder_use = builder_use or lives.longest_instance_lifetime + rotation.LATE_REPLACEMENT
    builders: list[Party] = []
    clients: list[Party] = []
    renew(secrets, fleet(lives), START)
    for day in range(1, days):
        now = START + day * DAY
        for moment in (now - timedelta(minutes=1), now):
            if moment == now:
                secrets.writes_left = runs(day)
                with suppress(CrashError):
                    renew(secrets, fleet(lives), now)
            builders = [each for each in builders if each.gone > moment]
            clients = [each for each in clients if each.gone > moment]
            builders.append(Party(secrets.credentials["server"], moment + builder_use))
            clients.append(Party(secrets.credentials["client"], moment + lives.longest_client_use))
            servers = {id(each.credential): each.credential for each in builders}.values()
            visitors = {id(each.credential): each.credential for each in clients}.values()
            for server, client in itertools.product(servers, visitors):
                try:
                    verify(server, client, moment)
                except VerificationError as error:
                    failures.append(f"{moment}: {error}")
        assert secrets.trust
        authorities |= {each.certificate for each in secrets.trust.authorities}
        most = max(most, len(secrets.trust.authorities))
    return failures, len(authorities), most


def always(_day: int) -> float:
    return float("inf")


@pytest.mark.parametrize(("server", "client"), [(90, 30), (24, 24), (180, 180), (24, 180), (180, 24)])
def test_every_live_pair_verifies_on_every_day_of_years(server: int, client: int) -> None:
    lives = CertificateLives(server=server * DAY, client=client * DAY)

    failures, authorities, most = live(lives, runs=always)

    assert failures == []
    assert authorities >= 3
    assert most == 2


@pytest.mark.parametrize("writes", range(5))
def test_a_function_that_dies_after_any_write_two_days_out_of_three_harms_nobody(writes: int) -> None:
    failures, authorities, _ = live(
        CertificateLives(), runs=lambda day: float("inf") if day % rotation.LATE_RENEWAL.days == 0 else writes
    )

    assert failures == []
    assert authorities >= 3


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("spread", property(lambda _: timedelta(0))),
        ("longest", property(lambda lives: lives.server / 6)),
    ],
    ids=["before everybody trusts it", "before the last certificate of the former one expired"],
)
def test_a_change_of_the_authority_that_is_too_early_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, rule: str, value: property
) -> None:
    lives = CertificateLives()
    builder_use = lives.longest_instance_lifetime + rotation.LATE_REPLACEMENT
    monkeypatch.setattr(rotation, "_RESERVE", 400 * DAY)
    monkeypatch.setattr(CertificateLives, rule, value)

    failures, _, _ = live(lives, runs=always, builder_use=builder_use)

    assert failures


def test_a_builder_that_outlives_the_longest_instance_lifetime_would_be_seen() -> None:
    lives = CertificateLives()

    failures, _, _ = live(lives, runs=always, builder_use=lives.server / 3 + 2 * DAY, days=150)

    assert any("not valid at validation time" in each for each in failures)


def test_a_function_that_was_off_for_years_starts_again_by_itself() -> None:
    secrets, lives = Secrets(), CertificateLives()
    renew(secrets, fleet(lives), START)
    now = START + 3 * 365 * DAY

    done = renew(secrets, fleet(lives), now)

    assert done == [
        "dropped the former certificate authority",
        "introduced a certificate authority",
        "issued a server certificate until 2033-03-31",
        "issued a client certificate until 2033-01-30",
    ]
    verify(secrets.credentials["server"], secrets.credentials["client"], now)


@pytest.mark.parametrize("days", [23, 181])
def test_refuses_lives_out_of_their_limits(days: int) -> None:
    with pytest.raises(ValueError, match=f"a server certificate's life is 24 to 180 days.*got {days} days: move it"):
        CertificateLives(server=days * DAY)


def test_lives_say_what_follows_from_them() -> None:
    lives = CertificateLives(server=90 * DAY, client=30 * DAY)

    assert lives.longest_instance_lifetime == 25 * DAY
    assert lives.longest_client_use == 7 * DAY
    assert lives.spread == 27 * DAY
