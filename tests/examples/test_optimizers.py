"""The proving ground's example: its numbers, its runs on nets, its pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


def test_A13_the_table_of_dips_shrinks_with_data(example: Any, tmp_path: Path) -> None:
    table = rows(example.draw_dips(tmp_path, seeds=5))
    depths, curvatures = np.array([table[f"N = {n}"] for n in (10, 100, 1000)], dtype=float).T
    for values in (depths, curvatures):
        assert (values[:2] > 2 * values[1:]).all()


@pytest.mark.slow
def test_quick_draws_everything(example: Any, tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    assert example.main(["--quick", "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "momentum" in said and "sharp dips" in said
    names = {path.name for path in (tmp_path / "new").iterdir()}
    pictures = ("steps", "dips", *example.COURSES)
    assert names == {*(f"{name}.png" for name in pictures), "race_double_well.gif"}
