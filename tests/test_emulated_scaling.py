"""Scaling, deployed by the real command line tool to an emulated account: read back, and woken by the real function."""

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from buildkit_ops.architecture import Architecture
from local.deployment import Deployment
from local.emulator.aws import REGION, Aws
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

    def fallback_group(self, fleet: str) -> Any:  # noqa: ANN401 - as boto3 describes it
        return self.deployment.fallback_group(fleet, Architecture.ARM64)

    def wake(self, jobs: Any, fleet: str = "main") -> Any:  # noqa: ANN401 - JSON
        """What the fleet's function answers to whoever may call it."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.deployment.wake_function(fleet), Payload=json.dumps({"waiting_jobs": jobs})
        )
        return json.load(answer["Payload"])


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("account")
    # No builder boots here: any file will do for a release.
    archives = {each: directory / f"buildkit-v0.31.2.linux-{each.oci_name}.tar.gz" for each in Architecture}
    for architecture, archive in archives.items():
        archive.write_text(architecture)
    with ReleaseServer(archives, directory) as release:
        release.configure(CONFIG, directory / CONFIG.name)
        with (directory / CONFIG.name).open("a") as config:
            config.write('[builders.nightly]\narchitectures = ["arm64"]\nspot = true\nmin_capacity = 0\n')
        with Emulator(directory / "requests.log", enforce_iam=False, authority_file=release.authority_file) as emulator:
            deployment = Deployment(emulator, directory, config=directory / CONFIG.name)
            deployment.deploy()
            emulator.enforce_iam()
            yield Account(emulator, deployment)


def test_policies_schedules_and_the_warm_pool_read_back_as_declared(account: Account) -> None:
    result = read_back(account.emulator.endpoint_url, account.deployment.assembly)

    assert result.is_clean, (result.differences, result.unchecked)
    assert result.compared["AWS::AutoScaling::ScalingPolicy"] == 3
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


def test_a_change_of_a_groups_size_leaves_what_it_launches(account: Account) -> None:
    before = account.group("pull-requests")
    sizes = {name: before[name] for name in ("MinSize", "MaxSize")}
    name, autoscaling = before["AutoScalingGroupName"], account.aws.client("autoscaling")

    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=0, MaxSize=50)
    changed = account.group("pull-requests")
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, **sizes)

    assert changed["MaxSize"] == 50
    assert changed["MixedInstancesPolicy"] == before["MixedInstancesPolicy"]


def test_a_burst_of_calls_to_the_function_is_as_the_largest_of_them(account: Account) -> None:
    random.seed(4)
    jobs = [random.randint(1, 13) for _ in range(23)] + [14]  # noqa: S311 - it protects nothing
    random.shuffle(jobs)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: account.wake({"arm64": number})["arm64"], jobs))

    assert account.group()["DesiredCapacity"] == 5
    for number, answer in zip(jobs, answers, strict=True):
        assert answer["in_service"] + answer["coming"] >= -(-number // 3)


def test_what_spot_capacity_has_not_comes_on_demand_until_it_has_again(account: Account) -> None:
    account.emulator.set_spot_capacity(available=False)

    account.wake({"arm64": 15}, fleet="nightly")
    until(lambda: len(account.fallback_group("nightly")["Instances"]) == 5)
    until(lambda: account.group("nightly")["DesiredCapacity"] == 0)

    answer = account.wake({"arm64": 15}, fleet="nightly")["arm64"]
    assert (answer["in_service"], answer["coming"]) == (5, 0)

    account.emulator.set_spot_capacity(available=True)
    account.wake({"arm64": 24}, fleet="nightly")
    until(lambda: len(account.group("nightly")["Instances"]) == 3)

    assert len(account.fallback_group("nightly")["Instances"]) == 5


def until(happens: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what functions do that nobody waits for."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_the_function_says_what_it_does_not_understand(account: Account) -> None:
    answer = account.wake({"x86_64": 1}, "pull-requests")

    assert answer["errorType"] == "ValueError"
    assert answer["errorMessage"].startswith("this fleet builds for arm64; got 'x86_64'")


def test_the_function_wakes_no_other_fleet(account: Account) -> None:
    assert account.wake({"arm64": 4}, "pull-requests")["arm64"]["wanted"] == 2
    before = account.group()["DesiredCapacity"]

    account.wake({"arm64": 7}, "pull-requests")

    assert account.group("pull-requests")["DesiredCapacity"] == 3
    assert account.group()["DesiredCapacity"] == before


def test_a_builder_may_not_wake_others(account: Account) -> None:
    template = account.deployment.launch_template("main", Architecture.ARM64)
    credentials = account.emulator.instance_credentials(template.instance_profile)
    client = boto3.client(
        "lambda",
        region_name=REGION,
        endpoint_url=account.emulator.endpoint_url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
    )

    with pytest.raises(ClientError, match="not authorized to perform: lambda:InvokeFunction"):
        client.invoke(FunctionName=account.deployment.wake_function("main"), Payload=b"{}")
