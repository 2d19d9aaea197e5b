"""Which base image an example is built from: the public one where it can be had, else one made here."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from local.base_image.images import make_base_image

PUBLIC_BASE_IMAGE = "node:24-bookworm-slim"
"""The image that the example's Dockerfile names."""

_API_HOSTS = {"docker.io": "registry-1.docker.io"}  # the one registry that is not served under its own name
_PATIENCE_SECONDS = 3


def base_image_option(directory: Path, *, progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Return the arguments of `buildx build` that give the example its base image.

    None at all, for the public image, where its registry answers. Where npm needs a certificate authority of the
    machine's own (`NODE_EXTRA_CA_CERTS` is set), the public image would not know it: then, and where no registry
    answers, an image is made in `directory` and put in the public one's place.

    Args:
        directory: Where the made image is kept.
        progress: Told what is done when it takes long.

    Raises:
        BaseImageError: The image has to be made, and cannot be.
    """
    if "NODE_EXTRA_CA_CERTS" not in os.environ and registry_answers("docker.io"):
        return []
    return ["--build-context", f"{PUBLIC_BASE_IMAGE}=oci-layout://{make_base_image(directory, progress=progress)}"]


def registry_answers(registry: str) -> bool:
    """Tell whether an image registry speaks to this machine, after 3 seconds at most.

    Args:
        registry: Its name in an image reference: `docker.io`.
    """
    request = urllib.request.Request(f"https://{_API_HOSTS.get(registry, registry)}/v2/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS):  # noqa: S310 - https
            return True
    except urllib.error.HTTPError as answer:
        # A registry asks for a token first, and says which API it speaks; a proxy's refusal does neither.
        return "Docker-Distribution-Api-Version" in answer.headers
    except OSError:
        return False
