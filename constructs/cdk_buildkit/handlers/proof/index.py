"""The function's entry: CloudFormation's requests about one architecture of a fleet."""

import os
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from cdk_buildkit.handlers.custom_resource import Provided, answer
from cdk_buildkit.handlers.proof.boot_trial import BootTrial, Patience
from cdk_buildkit.handlers.proof.proof_group import ProofGroup
from cdk_buildkit.handlers.proof.record import Record

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 10})
"""The account shares its request rates: a throttled call is no failed boot."""


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Prove what the group launches, unless the physical id says that it is proven, and leave the group empty."""
    answer(event, os.environ["LOG_GROUP"], _provide)


def _provide(event: Mapping[str, Any]) -> Provided:
    group = ProofGroup(
        boto3.client("autoscaling", config=_CONFIG),
        boto3.client("ec2", config=_CONFIG),
        event["ResourceProperties"]["AutoScalingGroup"],
    )
    trial = BootTrial(group, _patience(os.environ))
    record = Record.parse(event.get("PhysicalResourceId", ""))
    if event["RequestType"] == "Delete":
        trial.end()
        return Provided(physical_id=event["PhysicalResourceId"])
    fingerprint = group.fingerprint()
    if record.has(fingerprint):
        # On a way back nothing may fail, and an earlier call may have been cut off.
        trial.stop()
    else:
        trial.run()
    return Provided(physical_id=str(record.with_newest(fingerprint)))


def _patience(environment: Mapping[str, str]) -> Patience:
    return Patience(
        launch=float(environment["LAUNCH_SECONDS"]),
        boot=float(environment["BOOT_SECONDS"]),
        removal=float(environment["REMOVAL_SECONDS"]),
        poll=float(environment["POLL_SECONDS"]),
    )
