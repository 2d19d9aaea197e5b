"""Scaling, deployed by the real command line tool to an emulated account and read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit_ops.architecture import Architecture
from local.deployment import Deployment
from local.emulator.aws import Aws
from local.emulator.process import Emulator
from local.emulator.read_back import read_back
from local.release import ReleaseServer

CONFIG = Path(__file__).parent.parent / "examples" / "office-hours.toml"


class Account:
    """The example in an emulated account that enforces IAM."""

    def __init__(self, emulator: Emulator, deployment: Deployment) -> None:
        self.emulator = emulator
        self.deployment = deployment
        self.aws = Aws(emulator.endpoint_url)

    def group(self, fleet: str = "main") -> Any:  # noqa: ANN401 - as boto3 describes it
        return self.deployment.group(fleet, Architecture.ARM64)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("account")
    # No builder boots here: any file will do for a release.
    archives = {each: directory / f"buildkit-v0.31.2.linux-{each.oci_name}.tar.gz" for each in Architecture}
    for architecture, archive in archives.items():
        archive.write_text(architecture)
    with ReleaseServer(archives, directory) as release:
        release.configure(CONFIG, directory / CONFIG.name)
        with Emulator(directory / "requests.log", enforce_iam=False, authority_file=release.authority_file) as emulator:
            deployment = Deployment(emulator, directory, config=directory / CONFIG.name)
            deployment.deploy()
            emulator.enforce_iam()
            yield Account(emulator, deployment)


def test_policies_schedules_and_the_warm_pool_read_back_as_declared(account: Account) -> None:
    result = read_back(account.emulator.endpoint_url, account.deployment.assembly)

    assert result.is_clean, (result.differences, result.unchecked)
    assert result.compared["AWS::AutoScaling::ScalingPolicy"] == 2
    assert result.compared["AWS::AutoScaling::ScheduledAction"] == 2
    assert result.compared["AWS::AutoScaling::WarmPool"] == 1


def test_the_warm_pool_is_what_the_file_says(account: Account) -> None:
    pool = account.aws.client("autoscaling").describe_warm_pool(
        AutoScalingGroupName=account.group()["AutoScalingGroupName"]
    )["WarmPoolConfiguration"]

    assert pool == {
        "InstanceReusePolicy": {"ReuseOnScaleIn": True},
        "MaxGroupPreparedCapacity": 4,
        "MinSize": 1,
        "PoolState": "Stopped",
    }


def test_a_share_of_pull_requests_builders_is_on_demand(account: Account) -> None:
    distribution = account.group("pull-requests")["MixedInstancesPolicy"]["InstancesDistribution"]

    assert (distribution["OnDemandBaseCapacity"], distribution["OnDemandPercentageAboveBaseCapacity"]) == (1, 25)
