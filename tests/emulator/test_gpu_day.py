"""The script for a day with a GPU runs through, keeps what it has, and writes its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.emulated


def test_it_runs_through_and_goes_on_where_it_stopped(tmp_path: Path, root: Path) -> None:
    environment = os.environ | {"GPU_DAY_SMALL": "1", "PYTHON": sys.executable}
    command = ["bash", str(root / "bench" / "gpu_day.sh"), str(tmp_path)]
    (tmp_path / "agreement.done").touch()  # as if an earlier run had come so far

    def run() -> str:
        result = subprocess.run(command, env=environment, text=True, capture_output=True,
                                timeout=600, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    said = run()
    assert "agreement: done before" in said and "fp32: done before" not in said
    (tmp_path / "tests.done").unlink()
    said = run()
    assert "tests: done before" not in said
    assert all(f"{name}: done before" in said for name in ("fp32", "tf32", "agreement", "launches"))
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert '"device": "Emulated GPU"' in page and "## tf32" in page and "FAILED" not in page
    assert "| S | H200 |" in page and "launches" in page
    assert '"host_seconds"' in page and '"pool_bytes"' in page
