"""What Kubernetes manifests are checked with: a linter, the definitions of custom resources, KEDA's own scaler.

`python -m local.manifest_tools` installs all of it, which takes some minutes once.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from local.go_modules import KARPENTER, KEDA, LOAD_BALANCER_CONTROLLER, GoModule, fetch_module
from local.go_programs import GoProgram, ToolchainError, install_by_itself
from local.keda import install_scaler
from local.kubernetes_objects import install_decoder

LINTER = GoProgram(
    module="github.com/zegl/kube-score",
    version="v1.20.0",
    packages={"./cmd/kube-score": "kube-score"},
    version_variable="main.version",
    on_path=False,
)

DEFINITIONS: Mapping[GoModule, str] = {
    KARPENTER: "pkg/apis/crds",
    KEDA: "config/crd/bases",
    LOAD_BALANCER_CONTROLLER: "config/crd/bases",
}
"""Where each module has its definitions."""


def install_linter() -> Path:
    """Build the linter, once, and return its path.

    Raises:
        ToolchainError: It cannot be built here.
    """
    return install_by_itself(LINTER)


def main() -> None:
    """Install everything."""
    try:
        for module in DEFINITIONS:
            fetch_module(module)
        for install in (install_linter, install_scaler, install_decoder):
            print(install())
    except ToolchainError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
