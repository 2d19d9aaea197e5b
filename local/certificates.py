"""A throw-away certificate authority for one fleet, with a server and a client certificate."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate with its key and the CA that signed it, each in PEM."""

    ca: str
    certificate: str
    key: str

    def as_secret(self) -> dict[str, str]:
        """Return the JSON object that a builder expects in its certificate secret."""
        return {"ca.crt": self.ca, "tls.crt": self.certificate, "tls.key": self.key}


class ThrowAwayAuthority:
    """A CA whose key lives in this process only, for one day."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cdk-buildkit local")])
        self._certificate = (
            _certificate(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue_server(self, domain_name: str) -> Certificate:
        """Issue a server certificate for a DNS name."""
        return self._issue(domain_name, ExtendedKeyUsageOID.SERVER_AUTH)

    def issue_client(self, name: str) -> Certificate:
        """Issue a client certificate; BuildKit looks at who signed it, not at the name."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, name: str, usage: x509.ObjectIdentifier) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _certificate(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(ca=_pem(self._certificate), certificate=_pem(certificate), key=_key_pem(key))


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
