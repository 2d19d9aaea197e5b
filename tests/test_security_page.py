"""The page on security names tests that exist, and figures that were measured."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    defined = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }

    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - defined == set()
    assert len(named) > 20


def test_every_host_file_that_the_page_names_exists() -> None:
    host = ROOT / "constructs" / "cdk_buildkit" / "host"

    named = set(re.findall(r"`([a-z0-9_-]+\.(?:rules|conflist|py))`", PAGE))
    assert [name for name in named if not (host / name).exists()] == []
    assert named


def test_the_figures_are_the_recorded_ones() -> None:
    recorded = json.loads((ROOT / "bench" / "results" / "tiers.json").read_text())["ratios"]

    quoted = re.findall(r"(\d+\.\d+) times", PAGE)
    assert quoted == [f"{ratio:.2f}" for ratio in recorded.values()]
