"""The proving ground's example: its numbers, its runs on nets, its pictures."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.optim.schedule import warmup
from tinynet.train import smooth
from tinynet.tune import label_rates

pytestmark = pytest.mark.numpy_only("it trains for minutes where the device is emulated")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def example() -> Any:
    """examples/optimizers.py as a module."""
    spec = importlib.util.spec_from_file_location("optimizers", ROOT / "examples/optimizers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text: str) -> dict[str, list[str]]:
    """A table's cells by the first column."""
    cells = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    return {name: more for name, *more in cells}


@pytest.mark.lecture("A3", "A4", "A9", "A12", "A15")
@pytest.mark.filterwarnings("ignore:the Hessian is not positive definite")
def test_the_tables_hold_the_lectures_numbers(example: Any) -> None:
    table = rows(example.numbers(limit=1300, seeds=1))
    names = list(example.first_order(0.01) | example.SECOND_ORDER)
    assert list(table) == ["lr = 0.01", *names]
    saddle = {name: table[name][0] for name in ("GD", "momentum", "Nesterov", "RMSProp", "Adam",
                                                "AdaGrad")}
    assert list(saddle.values()) == ["349", "72", "67", "72", "77", "1263"]
    assert [table[name][1] for name in ("GD", "momentum")] == ["0.9143", "-1.0679"]
    assert table["momentum"][2:5] == ["14.41", "18", "0.153"]
    assert table["Nesterov"][2:5] == ["4.03", "2", "0.121"]
    assert [table[name][6] for name in ("GD", "AdaGrad", "RMSProp", "Adam")] == \
        ["inf", "2e-08", "3e-05", "9e-08"]
    steps = rows(example.valleys((10,), limit=100))
    assert steps["GD, lr 2/(1+k)"] == ["69"] and steps["momentum, best lr and rho"] == ["27"]
    assert steps["Newton"] == ["1"] and int(steps["L-BFGS"][0]) < 15


@pytest.mark.parametrize("course", ["bowl", "double_well"])
def test_A2_the_race_ends_within_a_thousandth_of_a_minimum(example: Any, course: str) -> None:
    landscape, paths = example.race(course)
    assert {"GD", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "Newton", "BFGS",
            "L-BFGS"} <= paths.keys()
    for name, path in paths.items():
        away = min(float(np.linalg.norm(path[-1] - minimum)) for minimum in landscape.minima)
        assert away < 1e-3, f"{name} ends {away} away"


def test_C1_C2_the_drawn_errors_have_slopes_2_and_3(example: Any, tmp_path: Path) -> None:
    slopes = example.draw_models(tmp_path)
    assert slopes["tangent"] == pytest.approx(2, abs=0.05)
    assert slopes["parabola"] == pytest.approx(3, abs=0.05)
    assert (tmp_path / "models.png").stat().st_size > 20_000


def test_A13_the_table_of_dips_shrinks_with_data(example: Any, tmp_path: Path) -> None:
    table = rows(example.draw_dips(tmp_path, seeds=5))
    depths, curvatures = np.array([table[f"N = {n}"] for n in (10, 100, 1000)], dtype=float).T
    for values in (depths, curvatures):
        assert (values[:2] > 2 * values[1:]).all()


@pytest.mark.parametrize("seed", range(2))
def test_A21_labels_of_four_real_runs(example: Any, seed: int) -> None:
    runs = {lr: example.run_spirals(lr, seed, steps=800) for lr in example.RATES}
    assert label_rates(runs) == example.RATES
    low, good, high = (runs[lr] for lr in (0.003, 0.1, 0.6))
    assert np.mean(high[20:60]) < 1.2 * np.mean(good[20:60])  # as quick at first
    assert np.mean(low[-200:]) < np.mean(low[-400:-200])  # still on its way
    decayed = example.run_spirals(example.schedule.cosine(0.6, 800), seed, steps=800)
    assert np.mean(decayed[-100:]) < 0.3 * np.mean(high[-100:])  # start high, then decay


def test_B1_the_loss_drops_after_each_milestone(example: Any) -> None:
    """Noise keeps the loss at a height proportional to lr, so each drop of lr shows."""
    steps = 4000
    runs = [example.run_line(example.decays(0.1, steps)["x 0.1 at epochs 30, 60, 90"], seed, steps)
            for seed in range(2)]
    stages = np.mean(runs, axis=0).reshape(4, -1)[:, steps // 16:].mean(axis=1)
    assert stages[0] > 5 * stages[1] > 5 * 2 * stages[2] and stages[2] > stages[3]


def test_B2_B3_B4_decay_ends_lower_than_a_constant_rate(example: Any) -> None:
    runs = {name: np.mean([example.run_line(lr, seed, 1200) for seed in range(2)], axis=0)
            for name, lr in example.decays(0.1, 1200).items()}
    for name in ("cosine", "linear", "inverse square root", "warm-up, cosine"):
        assert runs[name][-60:].mean() < runs["constant"][-60:].mean() / 4
    last = smooth(runs["cosine"].tolist(), 0.98)[-301::100]
    assert last == sorted(last, reverse=True)  # B3: falls in the last quarter


@pytest.mark.parametrize("seed", range(4))
def test_B6_warm_up_saves_a_run_that_explodes(example: Any, seed: int) -> None:
    assert not math.isfinite(example.run_deep(0.45, seed)[-1])
    assert example.run_deep(warmup(0.45, 200), seed)[-1] < 1e-2


@pytest.mark.slow
def test_quick_draws_everything(example: Any, tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--quick", "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "step^2.00 (tangent)" in said and "0.003 low, 0.1 good, 0.6 high, 10 very" in said
    names = {path.name for path in (tmp_path / "new").iterdir()}
    pictures = ("noise", "steps", "models", "dips", "rates", "decays", *example.COURSES)
    assert names == {*(f"{name}.png" for name in pictures), "race_double_well.gif"}
