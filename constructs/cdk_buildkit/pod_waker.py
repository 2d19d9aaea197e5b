"""What wakes a fleet of pods: pods that are not there publish nothing, so nothing else would start the first."""

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from buildkit_ops.architecture import Architecture
from cdk_buildkit.acknowledgements import acknowledge, acknowledge_objects
from cdk_buildkit.builder_capacity import BuilderCapacity
from cdk_buildkit.builder_scaling import (
    IN_FLIGHT_BUILDS,
    METRIC_NAMESPACE,
    METRIC_PERIOD,
    WAITING_JOBS,
    BuilderScaling,
)
from cdk_buildkit.handler_function import HandlerFunction


class PodWaker(Construct):
    """A Lambda function that puts a metric of waiting jobs, on which KEDA brings the builders that they call for.

    It is called and answers as `BuilderWaker` does, and needs no way into the cluster. Any number of calls at once, of
    any size, are as the largest of them; no call lowers anything.

    Args:
        fleet: The fleet's domain name, as its builders publish it.
        capacities: The capacities of each architecture.
        scaling: The fleet's scaling parameters.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct gives it
        *,
        fleet: str,
        capacities: Mapping[Architecture, BuilderCapacity],
        scaling: BuilderScaling,
    ) -> None:
        super().__init__(scope, id)
        most = {each.value: capacity.max_capacity for each, capacity in capacities.items()}
        self._handler = HandlerFunction(
            self,
            "Function",
            handler="wake_pods",
            description="Wakes BuildKit builders for waiting jobs",
            environment={
                "FLEET": fleet,
                "METRIC_NAMESPACE": METRIC_NAMESPACE,
                "IN_FLIGHT_METRIC": IN_FLIGHT_BUILDS,
                "WAITING_METRIC": WAITING_JOBS,
                "PUBLISH_SECONDS": str(int(METRIC_PERIOD.total_seconds())),
                "BUILDS_PER_BUILDER": str(scaling.target_builds_per_builder),
                "MAX_CAPACITIES": Stack.of(self).to_json_string(most),
            },
            timeout=Duration.seconds(20),
        )
        self.function = self._handler.function
        # A metric is no resource; the namespace takes its place.
        iam.Grant.add_to_principal(
            grantee=self._handler,
            actions=["cloudwatch:PutMetricData"],
            resource_arns=["*"],
            conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
        )
        iam.Grant.add_to_principal(grantee=self._handler, actions=["cloudwatch:GetMetricData"], resource_arns=["*"])
        acknowledge(self._handler.role, "IAM5[Resource::*]", "PutMetricData and GetMetricData take no resource.")

    def grant_wake(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal call the function."""
        versions = f"{self.function.function_arn}:*"
        acknowledge_objects(grantee, versions, "The wildcard is the function's own versions and aliases.")
        return self.function.grant_invoke(grantee)
