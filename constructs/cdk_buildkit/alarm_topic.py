"""Where alarms go: an SNS topic that CloudWatch, and nobody else, may publish to."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct


class AlarmTopic(Construct):
    """An encrypted topic for the alarms of this account and region. Who subscribes to it is notified.

    Its key is one of its own, for $1 a month: CloudWatch may not use the key that AWS manages for SNS
    (https://repost.aws/knowledge-center/cloudwatch-configure-alarm-sns).
    """

    def __init__(self, scope: Construct, id: str) -> None:  # noqa: A002 - the name that every construct gives it
        super().__init__(scope, id)
        alarms = iam.ServicePrincipal(
            "cloudwatch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        )
        self.key = kms.Key(
            self,
            "Key",
            description="Notifications of the BuildKit builders' alarms",
            enable_key_rotation=True,
            pending_window=Duration.days(7),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(principals=[alarms], actions=["kms:Decrypt", "kms:GenerateDataKey*"], resources=["*"])
        )
        self.topic = sns.Topic(
            self, "Resource", display_name="Alarms of the BuildKit builders", master_key=self.key, enforce_ssl=True
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(principals=[alarms], actions=["sns:Publish"], resources=[self.topic.topic_arn])
        )
