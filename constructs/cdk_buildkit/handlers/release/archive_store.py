"""The archives in the account's bucket. What stands there is told by the SHA-256 that S3 itself computed of it."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = {"404", "NoSuchKey", "NotFound"}
_FORBIDDEN = {"403", "AccessDenied"}


class StoreError(Exception):
    """S3 refuses something; the message says what, and how to mend it."""


class ArchiveStore:
    """Objects below one prefix, each written in one piece: none is there in part, or with another sum than it should.

    Args:
        client: S3.
        bucket: The bucket's name.
        prefix: What the keys begin with.
    """

    def __init__(self, client: "S3Client", *, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def holds(self, key: str, sha256: str) -> bool:
        """Tell whether S3 has an object of this SHA-256 by this key.

        S3 computes the sum that it returns, when the object is put, and for objects that came in one piece it is
        that of the content: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html.
        So it does not matter who put the object there, nor what its metadata say.

        Raises:
            StoreError: S3 does not tell.
        """
        with self._asking(key):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return False
                raise
        return head.get("ChecksumSHA256") == _base64(sha256)

    def put(self, key: str, content: BinaryIO, sha256: str) -> None:
        """Write an object, unless its content has another SHA-256.

        In one request, not in parts: S3 then checks the sum itself, and keeps it.

        Raises:
            StoreError: S3 does not take it. What was there before still is.
        """
        content.seek(0)
        with self._asking(key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType="application/gzip",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(sha256),
            )

    def empty(self) -> list[str]:
        """Remove every archive, and return their keys. A bucket that is no more is empty too.

        Raises:
            StoreError: S3 refuses.
        """
        removed: list[str] = []
        with self._asking(f"{self._prefix}*"):
            try:
                pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
                for page in pages:
                    for item in page.get("Contents", []):
                        self._client.delete_object(Bucket=self._bucket, Key=item["Key"])
                        removed.append(item["Key"])
            except self._client.exceptions.NoSuchBucket:
                pass
        return removed

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        place = f"s3://{self._bucket}/{key}"
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            mend = (
                "see that no bucket policy, permissions boundary or service control policy forbids it to the function, "
                "and deploy again"
                if code in _FORBIDDEN
                else "deploy again"
            )
            raise StoreError(f"{place}: S3 answers {error.operation_name} with {code}: {mend}") from error
        except BotoCoreError as error:
            raise StoreError(f"{place}: S3 cannot be asked ({type(error).__name__}): deploy again") from error


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
