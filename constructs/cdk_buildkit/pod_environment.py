"""What the containers of a builder's pod are told, beside what follows from the pod itself."""

from collections.abc import Mapping
from datetime import timedelta

from buildkit_ops.architecture import Architecture
from cdk_buildkit.builder_pods import settling
from cdk_buildkit.builder_scaling import METRIC_NAMESPACE, METRIC_PERIOD, BuilderScaling


def pod_environment(
    *,
    fleet: str,
    architecture: Architecture,
    region: str,
    bucket: str,
    certificate_secret: str,
    scaling: BuilderScaling,
    longest_build: timedelta,
) -> Mapping[str, Mapping[str, str]]:
    """Return the environment variables of each container, by its name.

    Args:
        fleet: The fleet's name in its metrics.
        architecture: The builders' architecture.
        region: Where the bucket, the secret and the metrics are.
        bucket: The name of the architecture's cache bucket.
        certificate_secret: The ARN of the secret with the server certificate.
        scaling: How many builds and steps a builder takes, and what a step may have.
        longest_build: The longest build that a builder is kept for.
    """
    settling_seconds = str(int(settling().total_seconds()))
    return {
        "certificate": {"AWS_REGION": region, "CERTIFICATE_SECRET": certificate_secret},
        "agent": {
            "AWS_REGION": region,
            "FLEET": fleet,
            "ARCHITECTURE": architecture.value,
            "METRIC_NAMESPACE": METRIC_NAMESPACE,
            "PUBLISH_SECONDS": str(int(METRIC_PERIOD.total_seconds())),
            "MAX_BUILDS": str(scaling.max_builds),
            "LONGEST_BUILD_SECONDS": str(int(longest_build.total_seconds())),
            "SETTLING_SECONDS": settling_seconds,
        },
        "buildkitd": {
            "AWS_REGION": region,
            "AWS_BUCKET": bucket,
            "SETTLING_SECONDS": settling_seconds,
            "MAX_PARALLELISM": str(scaling.max_parallelism or 0),
            "STEP_MEMORY_BYTES": str(int(scaling.step_memory.to_bytes()) if scaling.step_memory else 0),
            "STEP_CPUS": str(scaling.step_cpus or 0),
        },
    }
