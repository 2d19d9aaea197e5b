"""The release: BuildKit's archives in the account, for every fleet."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import Architecture, BuildKitRelease, FunctionAlarm, ReleaseBucket
from stacks.config import BuildkitConfig, ObservabilityConfig


class ReleaseStack(Stack):
    """Gives the fleets `releases`."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        config: BuildkitConfig,
        observability: ObservabilityConfig,
        alarm_topic: sns.ITopic | None,
        architectures: Sequence[Architecture],
        description: str,
    ) -> None:
        super().__init__(scope, id, description=description)
        self.releases = ReleaseBucket(
            self,
            "Releases",
            release=BuildKitRelease(version=config.version, url=config.url, sha256=config.sha256),
            architectures=architectures,
        )
        if observability.alarm_topic_arn:
            alarm_topic = sns.Topic.from_topic_arn(self, "AlarmTopic", observability.alarm_topic_arn)
        FunctionAlarm(
            self,
            "ReleaseCopyFailed",
            function=self.releases.copier,
            words="BuildKit's release was not copied into the account, and the deployment that asked for it failed. "
            "Builders boot from the former one. The function's log has the reason: the URL, the sum, or S3.",
            section="release-copy-failed",
            topic=alarm_topic,
        )
