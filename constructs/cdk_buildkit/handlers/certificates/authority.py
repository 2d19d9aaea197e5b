"""A certificate authority and what it signs: ECDSA P-256, X.509 version 3, everything in PEM."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = timedelta(minutes=5)
"""How much a clock may be behind the issuer's: certificates are valid from so long before they are made."""

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
"""The two uses. BuildKit takes no server's certificate from a client, nor the other way round."""

_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A certificate with its key."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        """Return words that may be logged."""
        return f"{type(self).__name__}(not_after={self.not_after:%Y-%m-%d})"

    @property
    def not_after(self) -> datetime:
        """When the certificate expires."""
        return self._parsed.not_valid_after_utc

    def check(self) -> None:
        """Find out whether the key is the certificate's.

        Raises:
            ValueError: It is not, or one of them is no PEM.
        """
        key = serialization.load_pem_private_key(self.key.encode(), password=None)
        if key.public_key() != self._parsed.public_key():
            raise ValueError("the key is not the certificate's")

    @property
    def _parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())

    def is_issued_by(self, authority: "Authority") -> bool:
        """Tell whether the authority signed the certificate."""
        try:
            self._parsed.verify_directly_issued_by(authority._parsed)  # noqa: SLF001 - of the same kind
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def is_for(self, use: x509.ObjectIdentifier, domain_name: str) -> bool:
        """Tell whether the certificate carries this one use and this one name."""
        extensions = self._parsed.extensions
        try:
            uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        return [*uses] == [use] and names.get_values_for_type(x509.DNSName) == [domain_name]


@dataclass(frozen=True, kw_only=True, repr=False)
class Authority(KeyPair):
    """A private certificate authority, and when everybody had been given its certificate."""

    published: datetime | None = None

    @classmethod
    def create(cls, now: datetime, life: timedelta) -> "Authority":
        """Make an authority that nobody trusts yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        # A name of its own for each: where two are trusted, a chain is found by name.
        name = _name(f"cdk-buildkit {identifier.digest.hex()[:16]}")
        certificate = (
            _builder(name, name, key.public_key(), now, now + life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign"), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate=_certificate_pem(certificate), key=_key_pem(key))

    def publish(self, now: datetime) -> "Authority":
        """Return the authority, known to everybody who asks from now on."""
        return replace(self, published=now)

    def issue(self, use: x509.ObjectIdentifier, domain_name: str, *, now: datetime, life: timedelta) -> KeyPair:
        """Issue a certificate for one use, no longer valid than the authority itself.

        Args:
            use: `SERVER` or `CLIENT`.
            domain_name: The one name that it carries. BuildKit looks at the server's alone.
            now: When it begins to be valid.
            life: How long it is valid.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        signing_key = serialization.load_pem_private_key(self.key.encode(), password=None)
        assert isinstance(signing_key, ec.EllipticCurvePrivateKey)  # noqa: S101 - for the type checker
        subject = _name("BuildKit builders" if use == SERVER else "BuildKit clients")
        issuer = self._parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            _builder(subject, self._parsed.subject, key.public_key(), now, min(now + life, self.not_after))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain_name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .sign(signing_key, hashes.SHA256())
        )
        return KeyPair(certificate=_certificate_pem(certificate), key=_key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(usage: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{each: each == usage for each in _KEY_USAGES})


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
