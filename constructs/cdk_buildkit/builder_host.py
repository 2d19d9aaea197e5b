"""What a builder boots from: the files in host/ as one asset, and user data that names them and their sums."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

HOST_FILES = Path(__file__).parent / "host"
"""The files that land verbatim on a builder."""

LOADER = "loader.sh"
"""The one file of them that is not in the asset: it travels in the user data and fetches the others."""

LOG_EVENTS = "log_events.py"
"""Travels in the user data too, so that a boot that never gets the asset can say so."""

POD_FILES = "pod_*"
"""The files of a builder that is a pod, which no instance gets."""

CONFIGURATION_DIRECTORY = "/etc/cdk-buildkit"
"""Where the user data puts the environment file and the sums."""


class BuilderHost(Construct):
    """The host files as an S3 asset, and the user data of the launch templates that use them.

    User data is two parts: a cloud-config that writes `environment`, `host.sha256` and `log_events.py`, and `loader.sh`
    as it stands, which fetches the asset and BuildKit's archive, checks their sums and runs `bootstrap.sh` from the
    asset.
    """

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - the name that every construct gives it
        super().__init__(scope, id)
        self.asset = s3_assets.Asset(self, "Files", path=str(HOST_FILES), exclude=[LOADER, POD_FILES, "__pycache__"])

    def grant_boot(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a builder read this one asset."""
        # The asset's own grant would open every asset of the account's bootstrap bucket.
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:GetObject"],
            resource_arns=[self.asset.bucket.arn_for_objects(self.asset.s3_object_key)],
        )

    def user_data(self, environment: Mapping[str, str]) -> ec2.UserData:
        """Return user data for builders with these environment variables beside the asset's own."""
        variables = {"HOST_FILES": self.asset.s3_object_url, **environment}
        files = {
            "environment": "".join(f"{name}={value}\n" for name, value in variables.items()),
            "host.sha256": host_file_sums(),
            LOG_EVENTS: (HOST_FILES / LOG_EVENTS).read_text(),
        }
        cloud_config = {
            "write_files": [
                {"path": f"{CONFIGURATION_DIRECTORY}/{name}", "content": content, "permissions": "0644"}
                for name, content in files.items()
            ]
        }
        user_data = ec2.MultipartUserData()
        user_data.add_part(
            ec2.MultipartBody.from_raw_body(
                content_type='text/cloud-config; charset="utf-8"', body=Stack.of(self).to_json_string(cloud_config)
            )
        )
        user_data.add_part(
            ec2.MultipartBody.from_raw_body(
                content_type=ec2.MultipartBody.SHELL_SCRIPT, body=(HOST_FILES / LOADER).read_text()
            )
        )
        return user_data


def host_file_sums() -> str:
    """Return the SHA-256 of every file in the asset, as `sha256sum --check` reads them."""
    files = sorted(
        path for path in HOST_FILES.iterdir() if path.is_file() and path.name != LOADER and not path.match(POD_FILES)
    )
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
