"""The picture of a training step."""

from __future__ import annotations

from pathlib import Path

from tinynet.train import Anatomy
from tinynet.train.anatomy import StageRow
from tinynet.viz import plot_anatomy


def test_a_bar_for_each_stage_is_drawn(tmp_path: Path) -> None:
    rows = [StageRow("0", "Conv2d", frozenset({"nn/layers.py: forward"}), 3, 2_000, 1e-3, 2e-3),
            StageRow("loss", "", frozenset({"functional/loss.py: mse_loss"}), 1, 0, 1e-4, 1e-4)]
    path = tmp_path / "step.svg"
    plot_anatomy(Anatomy(rows), path)
    drawn = path.read_text()
    assert "Conv2d" in drawn and "milliseconds" in drawn and "1 files" in drawn
