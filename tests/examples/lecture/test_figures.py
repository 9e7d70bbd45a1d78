"""The command that makes the lecture's figures, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lecture import figures
from PIL import Image

from tests.ledger import load


def test_the_table_counts_the_figures_and_knows_the_ledger() -> None:
    assert [figure.number for figure in figures.FIGURES] == list(range(1, 31))
    assert {name for figure in figures.FIGURES for name in figure.ids} <= load().keys()


def test_the_command_draws_what_it_is_asked_for(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(["--only", "6", "7", "--quick", "--out", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == \
        ["image06.png", "image07.png"]
    with Image.open(tmp_path / "new" / "image06.png") as picture:
        assert picture.size == (580, 380)
    said = capsys.readouterr().out
    assert "image07.png  Nesterov momentum" in said and "2 figures are in" in said


def test_all_together_leave_their_numbers(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", figures.FIGURES[5:7])
    assert figures.main(["--quick", "--out", str(tmp_path)]) == 0
    numbers: dict[str, Any] = json.loads((tmp_path / "numbers.json").read_text("utf-8"))
    assert numbers["image06.png"]["closing error"] < 1e-14


IMAGES = Path(figures.__file__).parent / "images"


def test_all_thirty_are_committed_and_small() -> None:
    names = {figure.name for figure in figures.FIGURES}
    numbers: dict[str, Any] = json.loads((IMAGES / "numbers.json").read_text("utf-8"))
    assert {path.name for path in IMAGES.glob("*.png")} == names == numbers.keys()
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 2_000_000
    for path in IMAGES.glob("*.png"):
        with Image.open(path) as picture:
            assert 500 <= picture.size[0] <= 1200, path.name


@pytest.mark.parametrize("number", [2, 3, 6, 7, 15, 16])
def test_the_committed_numbers_are_those_of_the_code(number: int) -> None:
    """Of the figures that take no training."""
    committed = json.loads((IMAGES / "numbers.json").read_text("utf-8"))
    (figure,) = (figure for figure in figures.FIGURES if figure.number == number)
    made = figure.draw(False).numbers
    for name, value in committed[figure.name].items():
        assert made[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_a_figure_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        figures.main(["--only", "31"])
    assert "--only 31: there are figures 1 to" in capsys.readouterr().err
