"""The first notebook and the lessons as notebooks, cell by cell, without Jupyter.

With it, in its kernel: `python -m tests.examples.notebooks`, which CI runs.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROOT, below
from tinynet import data

FIRST = ROOT / "examples" / "first_run.ipynb"
LESSONS = ROOT / "examples" / "lessons"


def run(cells: list[dict[str, Any]], names: dict[str, Any]) -> Iterator[Any]:
    """The value of each code cell's last line, as a notebook shows it."""
    for cell in cells:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), names)
            if isinstance(last, ast.Expr):
                yield eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_first_run_shows_tables_and_pictures(monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    small = data.load_shapes(train=240, test=60)
    monkeypatch.setattr(data, "load_shapes", lambda train, test: small)
    text = FIRST.read_text(encoding="utf-8").replace("epochs = 5", "epochs = 2")
    text = text.replace("split(500)", "split(60)")
    names: dict[str, Any] = {"__name__": "__main__"}
    kinds = []
    for shown in run(json.loads(text)["cells"], names):
        if hasattr(shown, "_repr_png_"):
            assert shown._repr_png_().startswith(b"\x89PNG")
            kinds.append("picture")
        else:
            assert shown._repr_html_().startswith("<table>")
            kinds.append("table")
    assert kinds == ["table", "picture", "table", "table", "picture", "table", "picture"]
    losses = names["history"].epochs["val_loss"]
    assert len(losses) == 2
    assert "epoch   2/2" in capsys.readouterr().out


def test_the_first_run_is_committed_without_outputs() -> None:
    for cell in json.loads(FIRST.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_numbers_that_are_made_smaller_stand_in_the_first_run() -> None:
    text = FIRST.read_text(encoding="utf-8")
    for line in ("epochs = 5", "training.split(500)", "data.load_shapes(train=5000, test=500)"):
        assert text.count(line) == 1


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(LESSONS))
    yield importlib.import_module("cells")
    for name in ("cells", "grading", "grade", "drawing"):
        sys.modules.pop(name, None)


def lessons() -> list[Path]:
    return [path for path in below(LESSONS) if path.parent == LESSONS and path.name[:2].isdigit()]


def test_the_cells_of_a_lesson_are_all_of_it(cells: Any) -> None:
    for path in lessons():
        text = path.read_text(encoding="utf-8")
        found = cells.cells(text)
        assert len(found) == text.count("# %%") and found[0].kind == "markdown"
        assert found[0].source.startswith("# ")
        code = "\n".join(cell.source for cell in found if cell.kind == "code")
        assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(text))
        prose = "\n".join(cell.source for cell in found if cell.kind == "markdown")
        assert not re.search("^(def|import|#  )", prose, re.MULTILINE)


def test_a_solved_lesson_runs_cell_by_cell(cells: Any, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    grading = importlib.import_module("grading")
    monkeypatch.chdir(tmp_path)
    path = LESSONS / "04_sgd_to_adam.py"
    text = cells.notebook(grading.solved(grading.read(path), grading.solution_of(path)))
    assert list(run(json.loads(text)["cells"], {"__name__": "__main__"})) == []
    assert (tmp_path / "runs" / "lessons" / "04_sgd_to_adam.png").exists()


def test_grade_writes_a_notebook_once(cells: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    grade: Any = importlib.import_module("grade")
    copy = tmp_path / "04_sgd_to_adam.py"
    copy.write_bytes((LESSONS / copy.name).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert grade.main([copy.name, "--notebook"]) == 0
    assert "04_sgd_to_adam.ipynb is written" in capsys.readouterr().out
    written = (tmp_path / "04_sgd_to_adam.ipynb").read_bytes()
    assert grade.main(["04_sgd_to_adam.ipynb"]) == 1
    said = capsys.readouterr().out
    assert "`sgd` still has `...` in line 6" in said and "counted over all code cells" in said
    assert grade.main([copy.name, "--notebook"]) == 1
    assert "your answers may be in it" in capsys.readouterr().out
    assert (tmp_path / "04_sgd_to_adam.ipynb").read_bytes() == written
    with pytest.raises(SystemExit):
        grade.main(["--notebook"])
    assert "give its number" in capsys.readouterr().err
