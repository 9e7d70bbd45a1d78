"""Single layers: all can be built, rows are replaced one by one, wrong results are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import layers, nets, report
from bench.drive import Contender, Line, Work
from bench.shapes import LAYERS
from tinynet import functional as F, nn


def answers(ours: float, theirs: float, result: float = 1.0) -> Any:
    """What `compare` returns: two lines, and the ratio of their times."""
    def compare(contenders: list[Contender], work: Work, rounds: int, runs: int) -> list[Line]:
        return [{"ratio": seconds / theirs, "seconds": [seconds], "median": seconds,
                 "losses": [losses], "version": "1"}
                for seconds, losses in ((ours, result), (theirs, 1.0))]

    return compare


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.layers", *options])
    layers.main()


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_can_be_built(name: str) -> None:
    about = LAYERS[name]
    assert callable(about.build(nn, F))
    assert about.second in ("", "labels", "other")


def test_numbers_are_the_same_for_all_and_channels_lie_side_by_side() -> None:
    first, second = nets.Arrays(), nets.Arrays()
    assert (first.weights((3, 4)) == second.weights((3, 4))).all()
    (labels,) = first.second("labels", (50, 7))
    assert labels.max() < 7
    x = first.normal((2, 5, 3, 4))
    assert (nets.channels_last(x) == x).all()
    assert nets.channels_last(x).transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.shares_memory(nets.channels_last(x[:, :3]), x)


def test_rows_are_replaced_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {layers.SECTION} -->\n<!-- end -->\n")
    monkeypatch.setattr(report, "LINES", tmp_path / "lines.jsonl")
    monkeypatch.setattr(report.record, "__defaults__", (page,))
    monkeypatch.setattr(layers, "compare", answers(0.003, 0.001))
    run(monkeypatch, "--only", "GELU", "softplus", "--write")
    monkeypatch.setattr(layers, "compare", answers(0.001, 0.002))
    run(monkeypatch, "--only", "softplus", "--write")
    text = page.read_text()
    assert "tinynet is ahead in 1, within 1.5 times PyTorch's time in 1, within 2 in 1" in text
    assert text.count("| softplus 64 @32 | 2 | 1 | 0.50 | 0.50 | 1 |") == 1
    assert text.count("| 1 | 3 | **3.00** | **3.00** | 1 |") == 2
    assert "3.00   3.00  GELU 64 @32" in capsys.readouterr().out


def test_one_core_has_a_table_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- {layers.SECTION} -->\nall cores\n<!-- end -->\n")
    monkeypatch.setattr(report, "LINES", tmp_path / "lines.jsonl")
    monkeypatch.setattr(report.record, "__defaults__", (page,))
    works: list[Work] = []

    def compare(contenders: Any, work: Work, rounds: int, runs: int) -> list[Line]:
        works.append(work)
        return list(answers(0.001, 0.002)(contenders, work, rounds, runs))

    monkeypatch.setattr(layers, "compare", compare)
    run(monkeypatch, "--only", "softplus", "--cores", "1", "--write")
    assert works == [Work("softplus 64 @32", "layer", cores=1)]
    assert "\nall cores\n" in page.read_text()
    assert "### Layers against PyTorch, one core\n" in page.read_text()
    assert "in seconds of the processor" in page.read_text()


def test_results_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "compare", answers(1.0, 1.0, 1.2))
    with pytest.raises(AssertionError, match="softplus 64 @32: results differ"):
        run(monkeypatch, "--only", "softplus")


@pytest.mark.parametrize("options", [["--only", "no such layer"], ["--rounds", "0"]])
def test_wrong_options_are_refused(options: list[str], monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, *options)
    assert "--only must name layers of bench/shapes.py" in capsys.readouterr().err
