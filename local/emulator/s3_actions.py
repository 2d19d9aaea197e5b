"""Which IAM actions, on which resources, a request to S3 needs.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

import re
from urllib.parse import unquote

from local.emulator.errors import NotEmulatedError
from local.emulator.request import AwsRequest, Environ, body

_OBJECT_ACTIONS = {
    ("GET", ""): "GetObject",
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("GET", "tagging"): "GetObjectTagging",
    ("GET", "acl"): "GetObjectAcl",
    ("GET", "versionId"): "GetObjectVersion",
    ("HEAD", ""): "GetObject",
    ("HEAD", "versionId"): "GetObjectVersion",
    ("PUT", ""): "PutObject",
    ("PUT", "uploadId"): "PutObject",
    ("PUT", "tagging"): "PutObjectTagging",
    ("PUT", "acl"): "PutObjectAcl",
    ("POST", "uploads"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("DELETE", "versionId"): "DeleteObjectVersion",
}
_BUCKET_ACTIONS = {
    ("GET", ""): "ListBucket",
    ("HEAD", ""): "ListBucket",
    ("PUT", ""): "CreateBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "encryption"): "GetEncryptionConfiguration",
    ("PUT", "encryption"): "PutEncryptionConfiguration",
    ("GET", "lifecycle"): "GetLifecycleConfiguration",
    ("PUT", "lifecycle"): "PutLifecycleConfiguration",
    ("DELETE", "lifecycle"): "PutLifecycleConfiguration",
    ("GET", "policy"): "GetBucketPolicy",
    ("PUT", "policy"): "PutBucketPolicy",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("GET", "publicAccessBlock"): "GetBucketPublicAccessBlock",
    ("PUT", "publicAccessBlock"): "PutBucketPublicAccessBlock",
    ("DELETE", "publicAccessBlock"): "PutBucketPublicAccessBlock",
    ("GET", "ownershipControls"): "GetBucketOwnershipControls",
    ("PUT", "ownershipControls"): "PutBucketOwnershipControls",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "tagging"): "GetBucketTagging",
    ("PUT", "tagging"): "PutBucketTagging",
    ("GET", "acl"): "GetBucketAcl",
    ("PUT", "acl"): "PutBucketAcl",
}
_SUBRESOURCES = {name for _, name in (*_OBJECT_ACTIONS, *_BUCKET_ACTIONS) if name}
_UNKNOWN_SUBRESOURCES = {"attributes", "cors", "legal-hold", "logging", "notification", "object-lock", "policyStatus"}
_UNKNOWN_SUBRESOURCES |= {"replication", "restore", "retention", "select", "torrent", "website"}


def s3_actions(request: AwsRequest, environ: Environ) -> list[tuple[str, str]]:
    """Return the pairs of action and resource that a request needs, all of them.

    Raises:
        NotEmulatedError: It is none of the requests whose actions are known here.
    """
    if not request.bucket:
        return [("s3:ListAllMyBuckets", "*")]
    bucket = f"arn:aws:s3:::{request.bucket}"
    asked = sorted((_SUBRESOURCES | _UNKNOWN_SUBRESOURCES | {"delete"}) & set(request.query))
    if not request.key and request.method == "POST" and asked == ["delete"]:
        keys = re.findall(r"<Key>([^<]*)</Key>", body(environ).decode())
        return [("s3:DeleteObject", f"{bucket}/{key}") for key in keys]
    name = (_OBJECT_ACTIONS if request.key else _BUCKET_ACTIONS).get((request.method, "+".join(asked)))
    if name is None:
        raise NotEmulatedError(f"the IAM action of {request.method} with {asked} is not known: add it to s3_actions")
    actions = [(f"s3:{name}", f"{bucket}/{request.key}" if request.key else bucket)]
    source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
    if source:
        copied = unquote(source).removeprefix("/").partition("?")[0]
        actions.append(("s3:GetObject", f"arn:aws:s3:::{copied}"))
    if environ.get("HTTP_X_AMZ_TAGGING"):
        actions.append(("s3:PutObjectTagging", f"{bucket}/{request.key}"))
    return actions
