"""Every dependency has a lowest version, and the command that tests them finds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lowest import _lowest, lowest


def test_every_dependency_has_a_lowest_version() -> None:
    found = dict(line.split("==") for line in lowest())
    assert found["numpy"] == "2.0" and {"matplotlib", "safetensors", "pytest"} <= found.keys()


@pytest.mark.parametrize("line", ["tqdm", "tqdm==4", "tqdm>4", "tqdm>=4,<5"])
def test_a_dependency_without_a_lowest_version_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=f"'{re.escape(line)}' in pyproject.toml has no lowest"):
        _lowest(line)


def test_what_is_said_of_blas_names_the_lowest_threadpoolctl(root: Path) -> None:
    version = dict(line.split("==") for line in lowest())["threadpoolctl"]
    text = (root / "tinynet" / "kernels" / "threads.py").read_text(encoding="utf-8")
    assert f"threadpoolctl ({version} or newer)" in text
