"""History: columns stay in step, smoothing has no start-up bias, files round-trip."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tinynet.train import History, smooth


def example() -> History:
    history = History()
    for step in range(4):
        history.add("steps", step=step, loss=2.0 - 0.25 * step, accuracy=0.25 * step, lr=0.1)
    for epoch, val in enumerate([0.5, 0.75, 0.75], 1):
        history.add("epochs", epoch=epoch, step=epoch * 4, train_loss=1.0 / epoch,
                    val_loss=1.5 - val, val_accuracy=val, lr=0.1, seconds=1.25)
    history.stopped = "finished"
    return history


def test_columns_keep_in_step_when_values_come_and_go() -> None:
    history = History()
    history.add("steps", step=0, loss=1.0)
    history.add("steps", step=1, loss=0.5, lr=0.1)
    history.add("steps", step=2)
    assert history["step"] == [0.0, 1.0, 2.0]
    assert history["loss"][:2] == [1.0, 0.5] and math.isnan(history["loss"][2])
    assert math.isnan(history["lr"][0]) and history["lr"][1] == 0.1
    assert "lr" in history and "val_loss" not in history
    assert repr(history) == "History(3 steps, 0 epochs, 0 ratios)"


def test_errors_name_the_column_or_table_and_what_there_is() -> None:
    history = example()
    with pytest.raises(KeyError, match="no column 'losss': this history has accuracy, epoch"):
        history["losss"]
    message = "table must be 'steps', 'epochs' or 'ratios', got 'step'"
    with pytest.raises(ValueError, match=message):
        history.add("step", loss=1.0)
    with pytest.raises(KeyError, match="no epochs column 'loss': there is epoch, step, train_loss"):
        history.best("loss")


def test_best_is_the_first_of_equal_ones_and_the_smallest_loss() -> None:
    history = example()
    assert history.best() == (2, 0.75)
    assert history.best("val_loss") == (2, 0.75)
    assert history.best("train_loss") == (3, 1.0 / 3.0)
    history.add("epochs", epoch=4, val_accuracy=math.nan)
    assert history.best() == (2, 0.75)


def test_best_of_equal_accuracies_is_the_one_of_the_smaller_loss() -> None:
    history = History()
    for epoch, (loss, accuracy) in enumerate([(0.8, 1.0), (0.1, 1.0), (0.1, 1.0), (0.05, 0.9)], 1):
        history.add("epochs", epoch=epoch, train_loss=1.0 / epoch, val_loss=loss,
                    train_accuracy=1.0, val_accuracy=accuracy)
        assert history.best() == (min(epoch, 2), 1.0)  # of equal losses the first
    assert history.best("val_loss") == (4, 0.05)
    assert history.best("train_accuracy") == (4, 1.0)


def test_best_passes_over_rows_whose_losses_are_not_finite() -> None:
    history = History()
    for epoch, (train, val, accuracy) in enumerate([
            (1.0, 1.0, 0.5), (1.0, math.nan, 0.9), (math.inf, 0.1, 0.8), (1.0, 0.9, math.inf)], 1):
        history.add("epochs", epoch=epoch, train_loss=train, val_loss=val, val_accuracy=accuracy)
    assert history.best() == (1, 0.5) and history.best("val_loss") == (4, 0.9)
    assert history.best("train_loss") == (1, 1.0)
    history.add("epochs", epoch=5, train_loss=1.0, val_loss=0.5, val_accuracy=0.6)
    assert history.best() == (5, 0.6) and history.best("val_loss") == (5, 0.5)
    history.epochs["val_accuracy"][4] = 0.1  # changed by hand
    assert history.best() == (1, 0.5)
    history.epochs["val_accuracy"] = [math.nan] * 5
    assert history.best()[0] == 0 and math.isnan(history.best()[1])
    assert "*" not in history.table()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, -1, None], ids=["first", "last", "all"])
def test_any_number_may_be_not_finite(odd: float, row: int | None, tmp_path: Path) -> None:
    whole = example()
    whole.add("ratios", step=0, update_ratio=1e-3)
    whole.add("ratios", step=2, update_ratio=2e-3)
    for table in ("steps", "epochs", "ratios"):
        for name in getattr(whole, table):
            history = History.from_dict(whole.state_dict())
            column = getattr(history, table)[name]
            column[:] = [odd if row in (None, i, i - len(column)) else value
                         for i, value in enumerate(column)]
            assert len(history.table().splitlines()) in (4, 5)
            for score in history.epochs:
                assert history.best(score)[0] in range(4)
            history.save(tmp_path / "h.json")
            assert History.load(tmp_path / "h.json") == history
            resumed = getattr(History.from_dict(history.state_dict()), table)[name]
            assert list(map(repr, resumed)) == list(map(repr, column))


def test_smooth_equals_the_formula() -> None:
    values, beta = [3.0, 1.0, 4.0, 1.0, 5.0], 0.8
    m, expected = 0.0, []
    for t, x in enumerate(values, 1):
        m = beta * m + (1 - beta) * x
        expected.append(m / (1 - beta**t))
    assert smooth(values, beta) == pytest.approx(expected, rel=1e-14)
    assert smooth(values, 0.0) == values
    assert example().smooth("loss") == smooth(example()["loss"], 0.9)
    with pytest.raises(ValueError, match=r"beta must be at least 0 and less than 1, got 1.0"):
        smooth(values, 1.0)


def test_smooth_passes_over_what_is_not_finite() -> None:
    result = smooth([math.nan, 2.0, math.inf, 4.0], 0.5)
    assert math.isnan(result[0])
    assert result[1:] == pytest.approx([2.0, 2.0, (0.25 * 2 + 0.5 * 4) / 0.75])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.0, 0.99))
def test_smooth_stays_between_the_extremes(values: list[float], beta: float) -> None:
    for y in smooth(values, beta):
        assert min(values) - 1e-6 <= y <= max(values) + 1e-6


def test_saves_and_loads_exactly(tmp_path: Path) -> None:
    history = example()
    history.add("ratios", step=0, update_ratio=1.0 / 3.0, weight=math.nan)
    history.save(tmp_path / "runs" / "history.json")
    loaded = History.load(tmp_path / "runs" / "history.json")
    assert loaded == history and loaded.stopped == "finished"
    assert loaded["update_ratio"] == [1.0 / 3.0] and math.isnan(loaded["weight"][0])
    text = (tmp_path / "runs" / "history.json").read_text()
    assert "NaN" not in text and json.loads(text)["ratios"]["weight"] == [None]


@pytest.mark.parametrize("text, reason", [
    ("{", "Expecting property name"),
    ("[1]", "no history of tinynet"),
    ('{"version": 1}', "no history of tinynet"),
    ('{"version": 99}', "version 99 is newer than this tinynet knows"),
    ('{"version": 1, "stopped": "", "steps": {"a": [1], "b": []}, "epochs": {}, "ratios": {}}',
     "columns of steps differ in length"),
    ('{"version": 1, "stopped": "", "steps": {"a": [1' + "0" * 400
     + ']}, "epochs": {}, "ratios": {}}', "no history of tinynet: OverflowError"),
    ('{"version": 1, "stopped": "", "steps": {"a": ["x"]}, "epochs": {}, "ratios": {}}', "'x'"),
])
def test_refuses_other_files_by_name(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        History.load(path)
    assert str(path) in str(error.value)


def test_table_marks_the_best_epoch() -> None:
    lines = example().table().splitlines()
    assert lines[0].split() == ["epoch", "train", "loss", "val", "loss", "val", "accuracy", "lr",
                                "seconds"]
    assert lines[2].split() == ["2", "0.5", "0.75", "75.00%", "0.1", "1.2", "*"]
    assert lines[3].split() == ["3", "0.3333", "0.75", "75.00%", "0.1", "1.2"]
    assert lines[-1] == "* best val accuracy"
    assert len({line.index("%") for line in lines[1:4]}) == 1
    assert History().table() == "no epoch has ended yet"


def test_a_row_costs_the_same_after_a_hundred_thousand() -> None:
    history = History()
    history.steps = {name: [0.0] * 100_000 for name in ("step", "loss", "lr")}
    for column in history.steps.values():
        column.append(0.0)  # room for the next row is made here
    tracemalloc.start()
    try:
        history.add("steps", step=100_001, loss=1.0, lr=0.1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000  # a column has 800,000 bytes
    assert history.steps["loss"][-1] == 1.0
