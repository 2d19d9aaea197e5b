"""The fleet's three secrets in Secrets Manager: the authority's, the builders' and the clients'."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cdk_buildkit.handlers.certificates.authority import Authority, KeyPair

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CURRENT = "AWSCURRENT"
PROPOSED = "PROPOSED"


class StoreError(Exception):
    """The authorities cannot be read or written; the message says how to mend it, and holds no value."""


class UnreadableTrustError(StoreError):
    """The authority's secret holds what this function does not write there.

    Args:
        version: The secret's version that holds it.
    """

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The authorities that a fleet trusts, oldest first, and how often all of them were revoked at once.

    Args:
        authorities: With their keys.
        generation: The construct's, by which the newest set of authorities came about.
        version: The secret's version that holds this. Default: none holds it yet.
    """

    authorities: tuple[Authority, ...]
    generation: int
    version: str | None = None

    @property
    def bundle(self) -> str:
        """The certificates of all of them, in PEM."""
        return "".join(each.certificate for each in self.authorities)


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What a builder or a client is given: whom it trusts, and what it shows."""

    bundle: str
    pair: KeyPair


class SecretStore:
    """Reads and writes secrets as the JSON objects that builders and clients expect.

    Args:
        client: Secrets Manager.
        authority_secret: The ARN of the secret that this function alone may read.
    """

    def __init__(self, client: "SecretsManagerClient", authority_secret: str) -> None:
        self._client = client
        self._authority_secret = authority_secret

    def read_trust(self) -> Trust | None:
        """Return the fleet's authorities, or None before the first were made.

        Raises:
            UnreadableTrustError: The secret holds something else.
        """
        value = self._read(self._authority_secret)
        if value is None:
            return None
        content, version = value
        try:
            document = json.loads(content)
            authorities = tuple(_authority(each) for each in document["authorities"])
            return Trust(authorities=authorities, generation=int(document["generation"]), version=version)
        except (ValueError, KeyError, TypeError):
            # What was parsed must reach neither a message nor a chained exception.
            raise UnreadableTrustError(
                f"the secret {self._authority_secret} holds no certificate authority of this function: make a new one "
                "with the action revoke, and replace the builders",
                version,
            ) from None

    def write_trust(self, trust: Trust) -> Trust:
        """Write the authorities, unless another call has written some since they were read.

        Raises:
            StoreError: Another call has.
        """
        document = {
            "generation": trust.generation,
            "authorities": [
                {
                    "certificate": each.certificate,
                    "key": each.key,
                    "published": each.published.isoformat() if each.published else None,
                }
                for each in trust.authorities
            ],
        }
        answer = self._client.put_secret_value(
            SecretId=self._authority_secret,
            SecretString=json.dumps(document),
            VersionStages=[PROPOSED if trust.version else CURRENT],
        )
        if trust.version:
            try:
                self._client.update_secret_version_stage(
                    SecretId=self._authority_secret,
                    VersionStage=CURRENT,
                    RemoveFromVersionId=trust.version,
                    MoveToVersionId=answer["VersionId"],
                )
            except self._client.exceptions.InvalidParameterException:
                raise StoreError("another call has changed the certificate authorities meanwhile: call again") from None
        return replace(trust, version=answer["VersionId"])

    def read_credential(self, secret: str) -> Credential | None:
        """Return what a secret holds for builders or clients, or None if that is nothing of use."""
        value = self._read(secret)
        try:
            document = json.loads(value[0]) if value else {}
            pair = KeyPair(certificate=document["tls.crt"], key=document["tls.key"])
            pair.check()
            return Credential(bundle=document["ca.crt"], pair=pair)
        except (ValueError, KeyError, TypeError):
            return None

    def write_credential(self, secret: str, credential: Credential) -> None:
        """Write what builders or clients fetch, with the keys `ca.crt`, `tls.crt` and `tls.key`."""
        document = {"ca.crt": credential.bundle, "tls.crt": credential.pair.certificate, "tls.key": credential.pair.key}
        self._client.put_secret_value(SecretId=secret, SecretString=json.dumps(document))

    def _read(self, secret: str) -> tuple[str, str] | None:
        try:
            answer = self._client.get_secret_value(SecretId=secret, VersionStage=CURRENT)
        except self._client.exceptions.ResourceNotFoundException:
            return None  # a secret without a value: CloudFormation makes it so
        return answer["SecretString"], answer["VersionId"]


def _authority(document: Mapping[str, str]) -> Authority:
    published = document["published"]
    authority = Authority(
        certificate=document["certificate"],
        key=document["key"],
        published=datetime.fromisoformat(published) if published else None,
    )
    authority.check()
    return authority
