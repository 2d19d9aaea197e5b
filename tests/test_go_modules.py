"""Go modules are what their pinned sums say, or are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from local.go_modules import KARPENTER, build_in_module, fetch_module
from local.go_programs import ToolchainError


def test_a_module_of_another_sum_is_refused() -> None:
    with pytest.raises(ToolchainError, match=r"the sum of sigs.k8s.io/karpenter v\S+ must be h1:other; got h1:7/Zerg"):
        fetch_module(replace(KARPENTER, sum="h1:other"))


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolchainError, match=r"sigs\.k8s\.io/karpenter cannot be fetched:"):
        fetch_module(replace(KARPENTER, version="not-a-version!"))


def test_a_program_that_does_not_build_says_why(tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    source.write_text("package main\n\nfunc main() { nothing() }\n")

    with pytest.raises(ToolchainError, match=r"program cannot be built:\n(.|\n)*undefined: nothing"):
        build_in_module(fetch_module(KARPENTER), tmp_path / "program", {"main.go": source}, kept=("go.mod", "go.sum"))
    assert not (tmp_path / "program").exists()
