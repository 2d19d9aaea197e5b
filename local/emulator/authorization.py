"""IAM for the emulated account: who a caller is, and whether policies let it do what it asks.

moto checks actions and resources and no condition. Here the caller's policies, its permissions boundary, a role's trust
policy and the policies of buckets, secrets and functions are evaluated with their conditions. What cannot be evaluated
is an error, never a guess.

One thing is a decision: the emulated network has no TLS, and every request in it is taken as if it had come over TLS.
`aws:SecureTransport` is therefore always true here: an enforce-TLS Deny is evaluated, and denies nobody.
"""

from datetime import UTC, datetime, timedelta

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, s3_backends

from local.emulator import sessions
from local.emulator.aws import ACCOUNT, REGION
from local.emulator.errors import NotEmulatedError, Refusal
from local.emulator.policy import Context, Decision, decide
from local.emulator.principals import OPERATOR, Principal, principal_of, trust_policy
from local.emulator.replacing import replace
from local.emulator.request import AwsRequest, Environ
from local.emulator.resource_policies import resource_policy
from local.emulator.resources import resource_of, tags_of
from local.emulator.s3_actions import s3_actions
from local.emulator.signature import is_signed_with, time_of

_SKEW = timedelta(minutes=5)
_S3_SKEW = timedelta(minutes=15)


class Denied(Refusal):
    """A policy does not let a known principal do something.

    Args:
        principal: The caller's ARN.
        action: For example `s3:GetObject`.
        resource: Its ARN, or `*` where the service knows none.
    """

    def __init__(self, principal: str, action: str, resource: str) -> None:
        super().__init__("AccessDenied", f"User: {principal} is not authorized to perform: {action} on {resource}")
        self.__dict__.update(principal=principal, action=action, resource=resource)

    principal: str
    action: str
    resource: str


def install() -> None:
    """Take the evaluation of bucket policies away from moto, which ignores their conditions."""
    replace(FakeBucket, "get_permission", lambda _bucket, _action, _resource: PermissionResult.NEUTRAL)


def authorize(request: AwsRequest, environ: Environ) -> Principal:
    """Return the caller, who may do what the request asks.

    Raises:
        Refusal: The key, the token or the signature is wrong.
        Denied: A policy says no, or none says yes.
        NotEmulatedError: A policy, or the request, needs something that is not known here.
    """
    principal = principal_of(request.access_key, request.session_token)
    if not is_signed_with(principal.secret, request, environ):
        raise Refusal("SignatureDoesNotMatch", "The request signature we calculated does not match yours.")
    _check_clock(request, environ)
    context = _context(principal, request, environ)
    if request.service == "s3":
        for action, resource in s3_actions(request, environ):
            _check(principal, action, resource, context)
    elif request.service == "ssm" and request.action in sessions.SESSION_ACTIONS:
        for resource, keys in sessions.checks(request):
            _check(principal, f"ssm:{request.action}", resource, context | dict(keys))
    elif request.action:
        context |= _resource_tags(request)
        _check(principal, f"{request.service}:{request.action}", resource_of(request), context)
    elif principal != OPERATOR:
        raise NotEmulatedError(
            f"the IAM action of {request.method} {request.raw_path} of {request.service} is not known: add it to "
            "rest_actions"
        )
    return principal


def may_list(principal: Principal, request: AwsRequest, environ: Environ) -> bool:
    """Tell whether a caller may know that a key is missing: S3 answers 403 instead of 404 to who may not list."""
    try:
        bucket = f"arn:aws:s3:::{request.bucket}"
        _check(principal, "s3:ListBucket", bucket, _context(principal, request, environ))
    except Denied:
        return False
    return True


def bucket_exists(name: str) -> bool:
    """Tell whether there is a bucket of that name."""
    return name in s3_backends[ACCOUNT]["aws"].buckets


def _check_clock(request: AwsRequest, environ: Environ) -> None:
    """Refuse a request of a caller whose clock is off, as AWS does.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
    """
    signed, now = time_of(environ), datetime.now(UTC)
    if signed is None or abs(now - signed) <= (_S3_SKEW if request.service == "s3" else _SKEW):
        return
    if request.service == "s3":
        raise Refusal(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
        )
    what = "expired" if signed < now else "not yet current"
    raise Refusal(
        "SignatureDoesNotMatch", f"Signature {what}: signed at {signed:%Y%m%dT%H%M%SZ}, now {now:%Y%m%dT%H%M%SZ}"
    )


def _check(principal: Principal, action: str, resource: str | None, context: Context) -> None:
    if action == "sts:GetCallerIdentity":
        return  # nobody can be denied it
    own = _own(principal, action, resource, context)
    if action != "sts:AssumeRole":
        decisions = {own, decide(resource_policy(resource), action, resource, context, principal.names)}
    elif principal != OPERATOR and resource and own is Decision.ALLOW:  # the role must say yes too
        decisions = {decide(trust_policy(resource), action, resource, context, principal.names)}
    else:
        decisions = {own}
    if Decision.DENY in decisions or Decision.ALLOW not in decisions:
        raise Denied(principal.arn, action, resource or "*")


def _own(principal: Principal, action: str, resource: str | None, context: Context) -> Decision:
    """Evaluate the caller's own policies, within its permissions boundary."""
    if principal.policies is None:
        return Decision.ALLOW
    decision = decide(principal.policies, action, resource, context)
    if decision is Decision.ALLOW and principal.boundary is not None:
        within = decide(principal.boundary, action, resource, context)
        return within if within is not Decision.NEUTRAL else Decision.DENY
    return decision


def _resource_tags(request: AwsRequest) -> Context:
    tags = tags_of(request)
    if tags is None:
        return {}
    return {"aws:resourcetag/": None, **{f"aws:resourcetag/{key.lower()}": value for key, value in tags.items()}}


def _context(principal: Principal, request: AwsRequest, environ: Environ) -> dict[str, str | None]:
    """Return the condition keys that are known here, and the values that AWS would give them for this request."""
    return {
        "aws:principalaccount": ACCOUNT,
        "aws:principalarn": principal.role_arn or principal.arn,
        "aws:requestedregion": REGION,
        "aws:resourceaccount": ACCOUNT,
        "aws:securetransport": "true",
        "aws:sourceaccount": None,
        "aws:sourcearn": None,
        "aws:viaawsservice": "false",
        "cloudwatch:namespace": request.parameters.get("Namespace"),
        "kms:viaservice": None,
        "s3:prefix": request.query.get("prefix"),
        "s3:x-amz-server-side-encryption": environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"),
        "sts:externalid": request.parameters.get("ExternalId"),
    }
