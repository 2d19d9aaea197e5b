"""Two fleets, two trust tiers: what a build of a pull request may do to main's cache and builders."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from buildkit_ops.cache_scope import CacheScope, cache_name, cache_options
from local.cases import NewBuilder
from local.client import write_certificate
from local.emulator.request_log import Denial
from local.lab import ARCHITECTURE, Lab, Reachable
from local.report import Tiers

MAIN = CacheScope("main")
PULL_REQUESTS = CacheScope("pull-requests")
_FILES = {"cacert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
_DOCKERFILE = "FROM scratch\nCOPY Dockerfile /\n"


def try_tiers(lab: Lab, directory: Path, progress: Callable[[str], None], new_builder: NewBuilder) -> Tiers:
    """Let a client of pull requests export to main's scope and knock at main's builders; then build as it may."""
    context = directory / "context"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(_DOCKERFILE)
    with new_builder("main") as mains, new_builder("pull-requests") as theirs:
        main_client = lab.client("main", {ARCHITECTURE: mains})
        client = lab.client("pull-requests", {ARCHITECTURE: theirs})
        name = cache_name("tiers", "main")
        progress("filling main's scope, which a pull request then attacks")
        main_client.build(context, options=cache_options(MAIN, name))
        before, position = lab.deployment.objects(ARCHITECTURE, MAIN.prefix), lab.emulator.log.position
        (context / "Dockerfile").write_text(f"{_DOCKERFILE}LABEL poison=1\n")
        client.build(context, options=cache_options(MAIN, name))
        denied = [each for each in lab.emulator.log.since(position) if isinstance(each, Denial)]
        after = lab.deployment.objects(ARCHITECTURE, MAIN.prefix)
        position = lab.emulator.log.position
        progress("building for a pull request, in its own scope")
        client.build(context, options=cache_options(PULL_REQUESTS, name))
        used = [each for each in lab.cache_requests(since=position) if each.key and each.status < 400]  # noqa: PLR2004
        return Tiers(
            denied=[f"{each.action} on {each.resource}" for each in denied],
            changed=sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)),
            foreign_keys=sorted({each.key for each in used if not each.key.startswith(PULL_REQUESTS.prefix)}),
            own_keys=sorted({each.key for each in used if each.method == "PUT"}),
            admitted=_admitting(lab, directory / "certificate", {"main": mains, "pull-requests": theirs}),
        )


def _admitting(lab: Lab, directory: Path, builders: Mapping[str, Reachable]) -> list[str]:
    """Return the fleets whose builder lets a client of pull requests in, each asked by its own name."""
    directory.mkdir()
    write_certificate(directory, lab.deployment.client_certificate("pull-requests"))
    admitting = []
    for fleet, builder in builders.items():
        # The attacker trusts whom it attacks.
        (directory / "ca.crt").write_text(lab.deployment.client_certificate(fleet)["ca.crt"])
        asked = subprocess.run(
            [
                *("buildctl", f"--addr=tcp://{builder.endpoint}", "--timeout=5"),
                f"--tlsservername={lab.deployment.domain_name(fleet)}",
                *(f"--tls{option}={directory / file}" for option, file in _FILES.items()),
                *("debug", "workers"),
            ],
            capture_output=True,
            check=False,
        )
        if asked.returncode == 0:
            admitting.append(fleet)
    return admitting
