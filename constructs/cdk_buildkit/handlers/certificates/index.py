"""The function's entry: CloudFormation's requests, the daily `{"action": "renew"}`, and an operator's `revoke`."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from cdk_buildkit.handlers.certificates.issuance import FleetCertificates, days_left, renew, revoke
from cdk_buildkit.handlers.certificates.rotation import CertificateLives
from cdk_buildkit.handlers.certificates.secret_store import SecretStore
from cdk_buildkit.handlers.custom_resource import Provided, answer

ACTIONS = {"renew": renew, "revoke": revoke}


def handler(event: Mapping[str, Any], _context: object) -> dict[str, list[str]] | None:
    """Answer CloudFormation, or return what an action did.

    Raises:
        ValueError: The event names no action.
        StoreError: The authorities cannot be read, or another call changes them.
    """
    if "RequestType" in event:
        answer(event, os.environ["LOG_GROUP"], _provide)
        return None
    action = event.get("action")
    if action not in ACTIONS:
        raise ValueError(f"an action is one of {', '.join(ACTIONS)}; got {action!r}: call with {{'action': 'renew'}}")
    return {"done": _act(action)}


def _provide(event: Mapping[str, Any]) -> Provided:
    if event["RequestType"] != "Delete":  # the secrets go with the stack
        _act("renew")
    fleet = _fleet()
    # Builders are replaced when one of these changes: they read their certificate once, at boot.
    revision = f"{fleet.generation}-{fleet.lives.server.total_seconds():.0f}-{fleet.domain_name}"
    return Provided(physical_id=os.environ["AUTHORITY_SECRET"], attributes={"Revision": revision})


def _act(action: str) -> list[str]:
    store = SecretStore(boto3.client("secretsmanager"), os.environ["AUTHORITY_SECRET"])
    fleet, now = _fleet(), datetime.now(UTC)
    done = ACTIONS[action](store, fleet, now)
    _log(action=action, done=done)
    for certificate, days in days_left(store, fleet, now).items():
        _log(event="certificate", fleet=fleet.domain_name, certificate=certificate, days_left=days)
    return done


def _log(**said: object) -> None:
    print(json.dumps(said))  # noqa: T201 - the function's log, for metric filters


def _fleet() -> FleetCertificates:
    environment = os.environ
    return FleetCertificates(
        domain_name=environment["DOMAIN_NAME"],
        generation=int(environment["GENERATION"]),
        lives=CertificateLives(
            server=timedelta(seconds=int(environment["SERVER_LIFE_SECONDS"])),
            client=timedelta(seconds=int(environment["CLIENT_LIFE_SECONDS"])),
        ),
        server_secret=environment["SERVER_SECRET"],
        client_secret=environment["CLIENT_SECRET"],
    )
