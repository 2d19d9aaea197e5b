"""Fixtures of tests on real pods: the fleets of examples/eks.toml, deployed to the emulated account, and their node."""

from collections.abc import Iterator

import pytest

from local.client import Client
from local.deployment import REPOSITORY, Deployment
from local.kubernetes.cluster import Cluster
from local.lab import ARCHITECTURE, Lab, Reachable
from local.toolchain import Toolchain
from tests.pod_clients import NewClient


@pytest.fixture(scope="session")
def pod_deployment(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Deploy it beside the default one, under a name of its own."""
    directory = tmp_path_factory.mktemp("pod-deployment")
    config = directory / "eks.toml"
    config.write_text('[deployment]\nname = "eks"\n' + (REPOSITORY / "examples" / "eks.toml").read_text())
    deployment = lab.new_deployment(directory, config=config, name="eks")
    deployment.deploy()
    return deployment


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, pod_deployment: Deployment, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    assert pod_deployment
    with Cluster(lab, tmp_path_factory.mktemp("pods"), toolchain=toolchain) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def new_client(lab: Lab, pod_deployment: Deployment) -> NewClient:
    """Return what makes a client of a fleet, connected to one of its pods."""

    def new_client(fleet: str, pod: Reachable) -> Client:
        return lab.client_at(fleet, {ARCHITECTURE: pod.endpoint}, pod_deployment)

    return new_client
