"""Where the alarms of every fleet go, when no topic is given."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_buildkit import AlarmTopic


class ObservabilityStack(Stack):
    """Gives the fleets' stacks `alarm_topic`."""

    def __init__(self, scope: Construct, id: str, *, description: str) -> None:  # noqa: A002
        super().__init__(scope, id, description=description)
        self.alarm_topic: sns.ITopic = AlarmTopic(self, "AlarmTopic").topic
        CfnOutput(self, "AlarmTopicArn", value=self.alarm_topic.topic_arn, description="Subscribe here to be told")
