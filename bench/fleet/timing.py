"""How long AWS, a builder and a client take for each step, and where each figure is from."""

from dataclasses import dataclass

from cdk_buildkit.builder_lifecycle import JOINING, SETTLING


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds. Nothing here was measured by this project on AWS: each figure says whose it is.

    Args:
        wake: From the call of the waking function to the group's new desired capacity. A cold start takes "under 100 ms
            to over 1 second" (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).
        launch: From the new desired capacity to a running instance, which is when billing begins: 4.8 for the call and
            17.8 pending, measured by others on m7i.large with Amazon Linux 2023 in February 2026
            (https://github.com/brevdev/ec2-coldboot-research, docs/cold-baseline-results.md).
        kernel: From running to the first service: 3.2, same source.
        start: Like `launch`, for an instance that is stopped: 1.8 and 16.4 (docs/start-stopped-results.md there).
        host_boot: From the first service to a launching hook that is answered: packages, release, certificate, daemon.
            An allowance, for want of a measurement on an instance; a sixth of what `join` is.
        host_restart: The same on an instance that was stopped: everything is there but the certificate. An allowance.
        boot_spread: Standard deviation of the logarithm by which one boot differs from another. An assumption; the
            source above saw 1 % in three runs, others two modes (https://hndistilled.com/story/40455208/).
        join: From a builder in service to its first connection: what the constructs reckon with. Users saw 120 and more
            (awsdocs/elb-network-load-balancers-user-guide#11), 180 (kubernetes-sigs/aws-load-balancer-controller#1834).
        leave: For how long a deregistered builder may still get connections: what the constructs reckon with.
        health_spread: From a changed health of a builder to connections that follow it: 30 to 40 in
            aws/containers-roadmap#470.
        metric_delay: From a published value to one that an alarm sees. An assumption: a few seconds.
        alarm_datapoints: Periods above the target before target tracking scales out, of three that AWS shows for its
            alarms. AWS tunes them since November 2024, without saying how
            (https://aws.amazon.com/blogs/compute/faster-scaling-with-amazon-ec2-auto-scaling-target-tracking).
        alarm_repeat: How often an alarm that stays calls its scaling policy again
            (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html).
        client_retry: Between two attempts of a client that finds no builder.
        client_patience: How long such a client goes on when nobody wakes the fleet for it: buildx's remote driver waits
            20 seconds, measured.
        waking_patience: The same when it has called the waking function: what a pipeline allows, half an hour here.
    """

    wake: float = 1.0
    launch: float = 22.6
    kernel: float = 3.2
    start: float = 18.2
    host_boot: float = 30.0
    host_restart: float = 5.0
    boot_spread: float = 0.1
    join: float = float(JOINING.to_seconds())
    leave: float = float(SETTLING.to_seconds())
    health_spread: float = 35.0
    metric_delay: float = 5.0
    alarm_datapoints: int = 3
    alarm_repeat: float = 60.0
    client_retry: float = 5.0
    client_patience: float = 20.0
    waking_patience: float = 1800.0
