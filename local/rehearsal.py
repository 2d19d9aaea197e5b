"""A rehearsal of a fleet's life: real builders of a deployed fleet, behind a balancer, in a group."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from local.autoscaling import AutoScaling
from local.balancer import Balancer, HealthCheck, TargetGroupAttributes
from local.builder import Builder
from local.lab import ARCHITECTURE, Lab
from local.vpc import GATEWAY

FLEET = "main"
"""Whose launch template, role and target group it is."""


def target_group_attributes(lab: Lab) -> TargetGroupAttributes:
    """Return the attributes of the fleet's deployed target group."""
    return TargetGroupAttributes.from_mapping(lab.deployment.target_group_attributes(FLEET, ARCHITECTURE))


def target_group_health_check(lab: Lab, interval: float | None = None) -> HealthCheck:
    """Return the health check of the fleet's deployed target group.

    Args:
        lab: The deployment.
        interval: Seconds between two checks. Default: the target group's own.
    """
    check = HealthCheck.from_target_group(lab.deployment.target_group(FLEET, ARCHITECTURE))
    return check if interval is None else replace(check, interval=interval)


class Fleet:
    """A group of builders behind a balancer on a port of the gateway; used with `with`.

    Args:
        lab: The deployment.
        port: The balancer's port.
        environment: What the builders' environment files say differently.
        attributes: The target group's. Default: those of the deployed one.
        check_seconds: Time between two health checks; None: as the deployed target group has it.
        propagation_seconds: How long a deregistered builder still gets new flows.
        retired_state: The target state of a builder that retires.
        waits_for_delay: Whether the terminating hook comes after the target group's deregistration delay, as with a
            real group. By default it comes at once.
    """

    def __init__(
        self,
        lab: Lab,
        port: int,
        *,
        environment: Mapping[str, str],
        attributes: TargetGroupAttributes | None = None,
        check_seconds: float | None = 0.5,
        propagation_seconds: float = 1.0,
        retired_state: str = "Terminated",
        waits_for_delay: bool = False,
    ) -> None:
        self.address = f"{GATEWAY}:{port}"
        attributes = attributes or target_group_attributes(lab)
        self._lab = lab
        self._environment = environment
        self.balancer = Balancer(
            GATEWAY,
            port,
            attributes,
            health_check=target_group_health_check(lab, check_seconds),
            propagation_seconds=propagation_seconds,
        )
        self.group = AutoScaling(
            GATEWAY,
            self.balancer,
            launching_hook="boot",
            terminating_hook="drain",
            retired_state=retired_state,
            hook_delay=attributes.deregistration_delay if waits_for_delay else 0.0,
        )
        self._builders: list[Builder] = []

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every builder that is left."""
        for builder in self._builders:
            builder.destroy()
        self.group.close()
        self.balancer.close()

    def boot(self, environment: Mapping[str, str], *, image_change: str = "", volume: Path | None = None) -> Builder:
        """Boot a builder of the group, which is not behind the balancer yet."""
        services = ("AUTO_SCALING", "ELASTIC_LOAD_BALANCING_V2")
        endpoints = {f"AWS_ENDPOINT_URL_{service}": self.group.endpoint for service in services}
        return self._lab.boot(
            FLEET,
            environment={**endpoints, **environment},
            group_name=self.group.name,
            image_change=image_change,
            volume=volume,
        )

    def launch(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        image_change: str = "",
        volume: Path | None = None,
    ) -> Builder:
        """Launch a builder and wait until it gets builds."""
        given = {**self._environment, **(environment or {})}
        builder = self.group.launch(lambda: self.boot(given, image_change=image_change, volume=volume))
        self._builders.append(builder)
        return builder

    def terminate(self, builder: Builder, seconds: float = 60) -> str:
        """Let the group end a builder, and return its answer to the terminating hook."""
        self.group.start_termination(builder)
        result = self.group.wait_for_drain(builder, seconds)
        self.end(builder)
        return result

    def end(self, builder: Builder) -> None:
        """End a builder at once."""
        builder.destroy()
        self._builders.remove(builder)


def events(builder: Builder) -> list[dict[str, Any]]:
    """Return what a builder's drain has logged."""
    lines = builder.console.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"event": ')]


def wait_for_event(builder: Builder, name: str, seconds: float = 30) -> dict[str, Any]:
    """Return the first event of that name which a builder's drain logs.

    Raises:
        TimeoutError: It logs none.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for event in events(builder):
            if event["event"] == name:
                return event
        time.sleep(0.1)
    raise TimeoutError(f"no {name} in {seconds} s: {builder.console.read_text(errors='replace')}")
