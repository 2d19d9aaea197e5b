"""How the source tree is laid out, where another layout would break imports or promises."""

import subprocess
import sys
from pathlib import Path

import constructs
import pytest


def test_the_directory_constructs_is_a_source_root_and_no_package(root: Path) -> None:
    # With an __init__.py it would hide the package `constructs` that the CDK is built on, and every import of the CDK
    # from this directory would fail.
    assert not (root / "constructs/__init__.py").exists()
    assert (root / "constructs/cdk_buildkit/__init__.py").exists()


def test_constructs_is_the_package_that_the_cdk_is_built_on(root: Path) -> None:
    assert constructs.__file__
    assert not Path(constructs.__file__).is_relative_to(root / "constructs")
    assert constructs.Construct.__module__ == "constructs"


def test_the_app_imports_the_constructs_package_from_the_top_of_the_tree(root: Path) -> None:
    program = "import constructs, app; print(constructs.Construct)"

    result = subprocess.run([sys.executable, "-c", program], cwd=root, check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    assert result.stdout == "<class 'constructs.Construct'>\n"


@pytest.mark.parametrize("package", ["buildkit_ops", "local"])
def test_what_runs_after_synth_loads_no_cdk(root: Path, package: str) -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        "names = [each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.')]\n"
        "assert names\n"
        "for name in names:\n"
        "    if not name.endswith('__main__'): importlib.import_module(name)\n"
        "print(sorted({'aws_cdk', 'constructs', 'jsii'} & set(sys.modules)))\n"
    )

    result = subprocess.run([sys.executable, "-c", program], cwd=root, check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n"
