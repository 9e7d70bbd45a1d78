"""The lessons: no stub passes, every solution does, and each usual slip is told from the others."""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.examples.lesson_slips import SLIPS, Slip
from tests.project import below

FOLDER = Path(__file__).parents[2] / "examples" / "lessons"
LIBRARY = FOLDER.parents[1]
LESSONS = [path for path in below(FOLDER) if path.parent == FOLDER and path.name[:2].isdigit()]
NAMES = [path.stem for path in LESSONS]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def grading(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("grading")
    for name in ("grading", "drawing", "grade"):
        sys.modules.pop(name, None)


@pytest.fixture
def solved(grading: Any) -> Callable[[str], tuple[Path, str]]:
    """The path of a lesson, and its text with the solution in it."""
    def of(name: str) -> tuple[Path, str]:
        path = next(path for path in LESSONS if path.stem.startswith(name))
        return path, grading.solved(grading.read(path), grading.solution_of(path))
    return of


def test_each_lesson_has_a_solution_and_checks() -> None:
    assert [path.stem[:2] for path in LESSONS] == [f"{n:02}" for n in range(1, 21)]
    for folder in ("solutions", "checks"):
        assert [path.stem for path in below(FOLDER / folder)] == NAMES, folder


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_fails_and_says_what_is_to_be_written_where(grading: Any, name: str) -> None:
    path = FOLDER / f"{name}.py"
    report = grading.grade(path)
    assert not report.passed and report.right == 0
    first = re.fullmatch(r"`([\w.]+)` still has `\.\.\.` in line (\d+): write what belongs there",
                         report.message)
    assert first, report.message
    assert "..." in path.read_text(encoding="utf-8").splitlines()[int(first[2]) - 1]
    assert report.hint.startswith("its first line says: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes(solved: Any, grading: Any, name: str) -> None:
    path, text = solved(name)
    report = grading.grade(path, text)
    assert report.passed and report.right == report.total > 1, report


@pytest.mark.parametrize("name", NAMES)
def test_what_does_nothing_never_passes(solved: Any, grading: Any, name: str) -> None:
    """An empty file; and the solved lesson in which one function is unsolved, gone, or idle."""
    path, text = solved(name)
    assert not grading.grade(path, "").passed
    stub = grading.read(path)
    whole = ast.parse(text)
    answers = grading.definitions(text)
    for wanted, unsolved in grading.definitions(stub).items():
        if wanted not in grading.unfinished(stub):
            continue
        assert not grading.grade(path, grading.solved(text, ast.unparse(unsolved))).passed, wanted
        kept = [part for part in whole.body if getattr(part, "name", "") != wanted]
        gone = ast.unparse(ast.Module(kept, []))
        assert not grading.grade(path, gone).passed, f"without {wanted}"
        if isinstance(unsolved, ast.FunctionDef):
            lines = {"return None", "return 0.0", f"return {unsolved.args.args[0].arg}"}
            for line in lines - {ast.unparse(answers[wanted].body[-1])}:
                idle = f"def {wanted}({ast.unparse(unsolved.args)}):\n    {line}"
                assert not grading.grade(path, grading.solved(text, idle)).passed, idle


@pytest.mark.parametrize("slip", SLIPS, ids=[f"{slip.lesson} {slip.hint}" for slip in SLIPS])
def test_a_slip_gets_its_own_hint(grading: Any, slip: Slip) -> None:
    path = next(path for path in LESSONS if path.stem.startswith(slip.lesson))
    solution = grading.solution_of(path)
    assert slip.right in solution, "the patch no longer fits the solution"
    text = grading.solved(grading.read(path), solution.replace(slip.right, slip.wrong, 1))
    report = grading.grade(path, text)
    assert not report.passed
    assert slip.hint in report.hint, report
    assert report.message and report.message != report.hint


def test_no_hint_serves_two_slips() -> None:
    hints = [(slip.lesson, slip.hint) for slip in SLIPS]
    assert len(hints) == len(set(hints)) >= 100


def test_a_lesson_is_short_and_alternates_prose_and_code() -> None:
    for path in LESSONS:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 80, path.name
        marks = re.findall(r"^# %%( \[markdown\])?$", text, re.MULTILINE)
        assert text.startswith("# %% [markdown]\n# # "), path.name
        prose = marks.count(" [markdown]")
        assert prose >= 3 and len(marks) <= 2 * prose + 1, path.name


def places(text: str) -> list[tuple[str, str]]:
    """The places `tinynet/file.py:name` that a lesson names."""
    return re.findall(r"`(tinynet/[\w/]+\.py):(\w+)`", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_place_in_the_library_exists(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert "In the library" in text and places(text)
    for file, wanted in places(text):
        tree = ast.parse((LIBRARY / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree)
                   if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert wanted in defined, f"{name}: {wanted} is not defined in {file}"


# What each lesson is the first to speak of: no earlier one may need it.
WORDS = {
    "01": r"\bValue\b|\bpull\(", "02": r"broadcast|sum_to|matmul", "03": r"newest_first|\bwalk\(",
    "04": r"momentum|Adam|RMSProp|learning rate|\blr\b", "05": r"Nesterov|look_ahead",
    "06": r"[Ss]chedule|cosine", "07": r"[Ww]arm.?up", "08": r"Newton|BFGS|Hessian",
    "09": r"BatchNorm|running_mean", "10": r"[Dd]ropout",
    "11": r"DropConnect|einsum", "12": r"[Ff]ractional", "13": r"[Ss]tochastic depth|survival",
    "14": r"[Cc]utout|[Mm]ixup", "15": r"[Aa]ugmentation|default_rng\(\[",
    "16": r"im2col", "17": r"Winograd", "18": r"[Tt]hread|out=", "19": r"[Ee]nsemble|[Ss]napshot",
    "20": r"recipe|overfitting",
}


def test_no_lesson_speaks_of_a_later_one() -> None:
    assert list(WORDS) == [path.stem[:2] for path in LESSONS]
    for path in LESSONS:
        text = path.read_text(encoding="utf-8")
        assert re.search(WORDS[path.stem[:2]], text), path.name
        text = re.sub(r"`tinynet/[\w/]+\.py:\w+`", "", text)
        for number, words in WORDS.items():
            found = re.search(words, text)
            assert number <= path.stem[:2] or not found, f"{path.name} says {found}: see {number}"


def test_no_lesson_uses_a_name_that_only_a_later_one_defines(solved: Any) -> None:
    """Each stands on its own: what it uses it defines, or imports from Python or NumPy."""
    for name in NAMES:
        tree = ast.parse(solved(name)[1])
        nodes = list(ast.walk(tree))
        imported = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {(getattr(node, "module", None) or node.names[0].name).split(".")[0]
                   for node in imported}
        assert modules <= {"numpy", "drawing"} | sys.stdlib_module_names, name
        own = {alias.asname or alias.name for node in imported for alias in node.names}
        own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        own |= {node.id for node in nodes if isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Store)}
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        foreign = used - own - set(dir(builtins)) - {"__name__"}
        assert not foreign, f"{name} uses {foreign}"


@pytest.mark.parametrize("name", NAMES)
def test_a_solved_lesson_draws_its_picture(solved: Any, name: str, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    _, text = solved(name)
    exec(compile(text, name, "exec"), {"__name__": "__main__"})
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")]
    assert written == [f"runs/lessons/{name}.png"], capsys.readouterr().out


def test_a_stub_has_no_picture_and_says_whom_to_ask(tmp_path: Path, run_python: Run) -> None:
    lesson = str(FOLDER / "04_sgd_to_adam.py")
    done = run_python("-c", f"import os, runpy, sys; sys.path.insert(0, {str(FOLDER)!r}); "
                            f"os.chdir({str(tmp_path)!r}); "
                            f"runpy.run_path({lesson!r}, run_name='__main__')")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No picture yet: some `...` is left.")
    assert "python examples/lessons/grade.py 04" in done.stdout
    assert not list(tmp_path.rglob("*.png"))


# The command

@pytest.fixture
def command(grading: Any) -> ModuleType:
    return importlib.import_module("grade")


def test_one_lesson_by_its_number(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["4"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("04_sgd_to_adam: `sgd` still has `...` in line 1")
    assert "hint: " in said and "0 of 5 checks" in said
    assert command.main(["04", "--solutions"]) == 0
    assert "04_sgd_to_adam: all 5 checks are right" in capsys.readouterr().out


def test_progress_over_all(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == NAMES
    assert lines[-2] == f"0 of {len(NAMES)} lessons are done"
    assert "grade.py 01 grades it" in lines[-1]
    assert command.main(["--solutions"]) == 0
    assert capsys.readouterr().out.count("  done\n") == len(NAMES)


def test_a_lesson_that_there_is_not(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["77"])
    assert caught.value.code == 2
    assert "there is no lesson 77: choose 01 to " in capsys.readouterr().err


def test_a_notebook_of_a_lesson_is_graded_too(solved: Any, command: Any, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    _, text = solved("04")
    cells = [{"cell_type": "markdown", "source": ["# prose\n", "is not code"]},
             {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip list"]},
             {"cell_type": "code", "source": text.splitlines(keepends=True)}]
    path = tmp_path / "04 my copy.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert command.main([str(path)]) == 0
    assert "all 5 checks are right" in capsys.readouterr().out


@pytest.mark.parametrize(("line", "message", "hint"), [
    ("return x - lr * ", "line 14 is not Python", "invalid syntax"),
    ("return x - lr * q", "line 14 of `sgd` stops with NameError: name 'q'", "Print the shapes"),
    ("return x - lr * None", "line 14 of `sgd` stops with TypeError", "is None"),
    ("print(x)", "sgd: the new x is None: the function has to return it", "`return`"),
    ("return 'x'", "should be numbers, not str", "x - lr g"),
    ("return x[:2]", "has the shape (2,), not (3,)", "x - lr g"),
])
def test_code_that_stops_is_told_where(grading: Any, line: str, message: str, hint: str) -> None:
    path = FOLDER / "04_sgd_to_adam.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[13] == "    return ..."
    lines[13] = f"    {line}"
    report = grading.grade(path, "\n".join(lines))
    assert not report.passed
    assert message in report.message and hint in report.hint


ENDLESS = """
import sys, threading
sys.path.insert(0, {folder!r})
import grade
grade.PATIENCE = {patience}
if {by_hand}:  # time is up when the lesson says so
    class Clock(threading.Timer):
        def start(self): Clock.strike = self.function
    grade.threading.Timer = Clock
sys.exit(grade.main([{path!r}]))
"""


@pytest.mark.parametrize("by_hand", [True, False], ids=["where", "in time"])
def test_a_loop_without_an_end_is_ended(run_python: Run, tmp_path: Path, by_hand: bool) -> None:
    text = (FOLDER / "04_sgd_to_adam.py").read_text(encoding="utf-8")
    loop = ("    import threading; getattr(threading.Timer, 'strike', print)()\n"
            "    while True: x = x")
    path = tmp_path / "04_sgd_to_adam.py"
    path.write_text(text.replace("    return ...", loop, 1), encoding="utf-8")
    script = ENDLESS.format(folder=str(FOLDER), path=str(path), by_hand=by_hand, patience=0.2)
    done = run_python("-c", script)
    assert done.returncode == 1, done.stderr
    where = r", in line 1[45] of `sgd`" if by_hand else ""
    assert re.search(f"04_sgd_to_adam: no answer after 0.2 s{where}", done.stdout), done.stdout
    assert "Does a loop there ever end?" in done.stdout


def test_grading_needs_neither_the_library_nor_matplotlib(run_python: Run) -> None:
    """So that an answer comes at once."""
    script = (f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import grade; "
              "grade.main(['--solutions']); "
              "print(sorted({'tinynet', 'matplotlib', 'scipy'} & set(sys.modules)))")
    done = run_python("-c", script)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
