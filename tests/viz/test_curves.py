"""The pictures are written, show what was recorded, and leave matplotlib as it was."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from tinynet.optim.schedule import cosine, warmup
from tinynet.train import History
from tinynet.viz import curves, plot_history, plot_schedule


def history(epochs: int = 3, steps: int = 40, validation: bool = True) -> History:
    h = History()
    for t in range(epochs * steps):
        loss = 2.3 * math.exp(-t / 40) + 0.1 * math.sin(t * t)
        h.add("steps", step=t, loss=loss, accuracy=max(0.0, 1 - loss / 2.5), lr=0.1 / (1 + t))
        if t % 10 == 0:
            h.add("ratios", step=t, update_ratio=1e-3, weight=1e-3, bias=0.1 if t else math.nan)
        if (t + 1) % steps == 0:
            val = {"val_loss": loss + 0.1, "val_accuracy": 0.3 * (t + 1) / steps}
            h.add("epochs", epoch=(t + 1) // steps, step=t + 1, train_loss=loss,
                  train_accuracy=0.5, lr=0.1, seconds=1.0, **(val if validation else {}))
    return h


def lines(panel: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in panel.get_lines()}


def test_D1_draws_all_curves_with_names_and_units(tmp_path: Path, figures: list[Figure]) -> None:
    h = history()
    plot_history(h, tmp_path / "new" / "curves.png", smooth=0.8, title="a title")
    assert (tmp_path / "new" / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    loss, accuracy, lr, ratio = figures[0].axes
    titles = [p.get_title(loc="left") for p in (loss, accuracy, lr, ratio)]
    assert titles == ["Loss", "Accuracy (training: as it went)", "Learning rate",
                      "Update ratio"]
    assert all(p.get_xlabel() == "epoch" and p.get_ylabel() for p in figures[0].axes)
    found = lines(loss)
    np.testing.assert_array_equal(found["validation"].get_ydata(), h["val_loss"])
    np.testing.assert_array_equal(found["training, moving average (0.8)"].get_ydata(),
                                  h.smooth("loss", 0.8))
    raw = next(line for line in loss.get_lines() if line.get_marker() == "." and
               len(line.get_ydata()) == 120)
    np.testing.assert_array_equal(raw.get_ydata(), h["loss"])
    np.testing.assert_allclose(raw.get_xdata(), (np.arange(120) + 1) / 40)
    found = lines(accuracy)
    assert found["validation, best 90.0% (epoch 3)"].get_ydata() == pytest.approx([30, 60, 90])
    assert list(found["training, mean of the epoch"].get_ydata()) == [50.0] * 3
    assert list(lr.get_lines()[0].get_ydata()) == h["lr"]
    assert ratio.get_yscale() == "log"
    assert list(lines(ratio)["median over the weights"].get_ydata()) == h["update_ratio"]


@pytest.mark.parametrize("validation", [True, False])
def test_runs_that_lack_something(tmp_path: Path, validation: bool) -> None:
    plot_history(history(1, 1, validation), tmp_path / "one_step.png")
    no_epoch = history(1, 40)
    no_epoch.epochs.clear()
    no_epoch.ratios.clear()
    del no_epoch.steps["accuracy"]
    plot_history(no_epoch, tmp_path / "interrupted.png")
    diverged = history(1, 40, validation)
    diverged.add("steps", step=40, loss=math.nan, accuracy=0.1, lr=0.1)
    plot_history(diverged, tmp_path / "diverged.svg")
    assert {p.name for p in tmp_path.iterdir()} == {"one_step.png", "interrupted.png",
                                                    "diverged.svg"}


def spoilt(table: str, column: str, odd: float, row: int | None) -> History:
    """A history with `odd` in one row of a column, or in all of it (None)."""
    found = history()
    values = getattr(found, table)[column]
    values[slice(None) if row is None else slice(row, row + 1 or None)] = (
        [odd] * (len(values) if row is None else 1))
    return found


def test_numbers_that_are_not_finite_are_drawn_over(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """In each column; the panels are made as for a file, and one file is written."""
    ways = itertools.cycle([(math.inf, 0), (math.nan, None), (-math.inf, None), (math.inf, -1)])
    with monkeypatch.context() as context:
        context.setattr(curves, "save", lambda figure, path: figure.clear())
        for table in ("steps", "epochs", "ratios"):
            for column, (odd, row) in zip(getattr(history(), table), ways, strict=False):
                plot_history(spoilt(table, column, odd, row), tmp_path / "not written")
    plot_history(spoilt("epochs", "step", math.inf, None), tmp_path / "step.png")
    assert [file.name for file in tmp_path.iterdir()] == ["step.png"]


@pytest.mark.parametrize(("table", "column"), [("ratios", "update_ratio"), ("steps", "loss")])
def test_numbers_near_the_end_of_the_floats_are_drawn_over(table: str, column: str,
                                                           tmp_path: Path) -> None:
    """An axis adds margins to its ends, and the ends would become infinite."""
    plot_history(spoilt(table, column, 1.7e308, None), tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size > 0


def test_an_empty_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no steps yet: train before plotting"):
        plot_history(History(), tmp_path / "x.png")


def test_draws_a_schedule_as_it_will_be_used(tmp_path: Path, figures: list[Figure]) -> None:
    schedule = warmup(cosine(0.1, 90), 10)
    plot_schedule(schedule, 100, tmp_path / "schedule.png")
    (line,) = figures[0].axes[0].get_lines()
    assert list(line.get_ydata()) == [schedule(t) for t in range(100)]
    assert line.get_label() == "warmup(cosine(0.1, T=90), 10)"
    plot_schedule([schedule, lambda t: 0.1], 50, tmp_path / "two.png", labels=["a", "b"])
    assert [line.get_label() for line in figures[1].axes[0].get_lines()] == ["a", "b"]
    with pytest.raises(ValueError, match="there is no schedule to draw"):
        plot_schedule([], 10, tmp_path / "x.png")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        plot_schedule(schedule, 0, tmp_path / "x.png")


def test_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    import sys

    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    plot_history(history(), tmp_path / "x.png")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
