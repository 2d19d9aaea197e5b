"""Session Manager's sessions, which moto has not: who has which, to which instance. Nothing flows through them here."""

import itertools
from collections.abc import Mapping

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ssm.exceptions import SSMException
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.sts.models import sts_backends

from local.emulator.aws import ACCOUNT, REGION
from local.emulator.policy import Context
from local.emulator.request import AwsRequest

DEFAULT_DOCUMENT = "SSM-SessionManagerRunShell"
"""The document of a session that names none: a shell."""

owners: dict[str, str] = {}
"""Who started each session that has not been ended, by `aws:userid`."""

SESSION_ACTIONS = ("ResumeSession", "StartSession", "TerminateSession")

_numbers = itertools.count(1)


class _TargetNotConnectedError(SSMException):
    code = "TargetNotConnected"


def install() -> None:
    """Give moto's Systems Manager the calls that it lacks."""
    for action in (_start_session, _terminate_session):
        name = action.__name__.removeprefix("_")
        if hasattr(SimpleSystemManagerResponse, name):
            raise AttributeError(f"this moto has {name}: take ours away")
        setattr(SimpleSystemManagerResponse, name, action)


def user_id_of(access_key: str | None) -> str:
    """Return `aws:userid` of an access key's owner."""
    session = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(access_key or "")
    return str(session.user_id) if session else ACCOUNT


def checks(request: AwsRequest) -> list[tuple[str, Context]]:
    """Return what a call is checked against: each resource, with the condition keys that come with it.

    A session is checked on the instance and on the document, the default one too, as where a policy asks for
    `ssm:SessionDocumentAccessCheck`. An end is checked on the session, by the tag that says who started it.
    https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-specify-session-document.html
    """
    given, own = request.parameters, {"aws:userid": user_id_of(request.access_key)}
    if request.action != "StartSession":
        session = given.get("SessionId", "")
        arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:session/{session}"
        return [(arn, {**own, **_tags({"aws:ssmmessages:session-id": owners.get(session, "nobody")})})]
    checked = {**own, "ssm:sessiondocumentaccesscheck": "true"}
    tags = ec2_backends[ACCOUNT][REGION].describe_tags({"resource-id": [given["Target"]]})
    document = given.get("DocumentName", DEFAULT_DOCUMENT)
    owner = "" if document.startswith("AWS-") else ACCOUNT
    return [
        (
            f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{given['Target']}",
            {**checked, **_tags({tag["key"]: tag["value"] for tag in tags})},
        ),
        (f"arn:aws:ssm:{REGION}:{owner}:document/{document}", {**checked, **_tags({})}),
    ]


def _tags(tags: Mapping[str, str]) -> dict[str, str | None]:
    return {"ssm:resourcetag/": None, **{f"ssm:resourcetag/{key.lower()}": value for key, value in tags.items()}}


def _start_session(response: SimpleSystemManagerResponse) -> ActionResult:
    target = response._get_param("Target")  # noqa: SLF001 - moto has no other access to it
    running = {each.id for each in ec2_backends[ACCOUNT][REGION].all_running_instances()}
    if target not in running:
        raise _TargetNotConnectedError(f"{target} is not connected.")
    session = f"session-{next(_numbers):017x}"
    owners[session] = user_id_of(response.access_key)
    return ActionResult(
        {
            "SessionId": session,
            "TokenValue": f"token-of-{session}",
            "StreamUrl": f"wss://ssmmessages.{REGION}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe",
        }
    )


def _terminate_session(response: SimpleSystemManagerResponse) -> ActionResult:
    session = response._get_param("SessionId")  # noqa: SLF001 - likewise
    owners.pop(session, None)
    return ActionResult({"SessionId": session})
