"""The benchmark for GPUs runs through and prints what it promises (emulated: the times mean
nothing)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gpu_estimate


@pytest.mark.emulated
def test_it_runs_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bench import gpu

    out = tmp_path / "gpu.jsonl"
    arguments = ["--batch", "2", "--steps", "2", "--warm-up", "1", "--gemm", "16",
                 "--out", str(out)]
    assert gpu.main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines
    assert lines[0]["what"] == "ceilings" and lines[0]["device"] == "Emulated GPU"
    assert [line["net"] for line in lines[1:] if line["contender"] == "tinynet"] == ["S", "R"]
    for line in lines[1:]:
        assert line["batch"] == 2 and line["seconds"] > 0 and line["driver"] == 12090
        assert line["version"].startswith(line["contender"])
        assert line["images_per_second"] == pytest.approx(2 / line["seconds"])
        assert line["of_gemm_ceiling"] > 0 and line["of_copy_ceiling"] > 0


@pytest.mark.emulated
def test_work_is_that_of_a_direct_convolution() -> None:
    from bench import gpu

    operations, touched = gpu.work_of("S", 128)
    assert operations == pytest.approx(29.7e9, rel=0.02) and 1e8 < touched < 1e10


@pytest.mark.numpy_only("where there is no GPU")
def test_it_wants_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    from bench import gpu

    with pytest.raises(SystemExit):
        gpu.main([])
    assert "set TINYNET_BACKEND=cupy" in capsys.readouterr().err


def test_an_estimate_adds_up_bytes_instructions_operations_and_launches() -> None:
    card = gpu_estimate.Card(memory=1e12, single=1e13, tf32=1e14, lanes=1e12)
    of = {"products": 2, "operations": 6e9, "kernels": [
        {"kernel": "copy", "launches": 2, "bytes": 16e6, "threads": 1},  # 10 us each
        {"kernel": "copy", "launches": 3, "bytes": 30, "threads": 1},  # as short as can be
        {"kernel": "tinynet_columns", "launches": 1, "bytes": 8e6, "threads": 1e6}]}
    kernels = 2 * 10e-6 + 3 * 2e-6 + 216e-6
    assert gpu_estimate.device_seconds(of, card, False) == pytest.approx(kernels + 1e-3)
    assert gpu_estimate.device_seconds(of, card, True) == pytest.approx(kernels + 6e9 / 35e12)
    assert gpu_estimate.launches(of) == 8
    assert "| X | H200 |" in gpu_estimate.table({"X": of})


def test_the_page_shows_the_estimate_as_it_is_printed(root: Path) -> None:
    nets = json.loads(gpu_estimate.FILE.read_text(encoding="utf-8"))
    page = (root / "tests/emulator/RESULT.md").read_text(encoding="utf-8")
    assert gpu_estimate.table(nets) in page
