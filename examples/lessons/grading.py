"""What the grader does with one lesson: reads it, runs it, and says what is wrong first.

A check is a function of the answer that returns if all is well, and else raises Wrong: the
number that came out, the right one, and a hint. For the slips that everybody makes the check
knows which number they give, so that the hint is about the slip and not about the lesson.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent


class Wrong(Exception):
    """What came out and what should have, and a hint on its own line."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.hint = hint


class Report(NamedTuple):
    """What to say of a lesson; `right` of `total` checks passed before the first that did not."""

    passed: bool
    right: int
    total: int
    message: str
    hint: str = ""


def close(what: str, got: Any, wanted: Any, hint: str = "",
          slips: Mapping[str, Any] | None = None, rtol: float = 1e-6) -> None:
    """Nothing if `got` is `wanted`; else Wrong, with the hint whose slip gives this number."""
    if got is None or got is ...:
        raise Wrong(f"{what} is {got}: the function has to return it",
                    "Does it end with a line that begins with `return`?")
    try:
        numbers = np.asarray(got, dtype=float)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be numbers, not {type(got).__name__}", hint) from None
    wanted = np.asarray(wanted, dtype=float)
    if numbers.shape != wanted.shape:
        for slip, value in (slips or {}).items():
            if _same(numbers, value, rtol):
                raise Wrong(f"{what} has the shape {numbers.shape}, not {wanted.shape}", slip)
        raise Wrong(f"{what} has the shape {numbers.shape}, not {wanted.shape}", hint)
    if _same(numbers, wanted, rtol):
        return
    place, size = _first_difference(numbers, wanted, rtol)
    message = f"{what} is {numbers[size]:.7g}{place}, and should be {wanted[size]:.7g}"
    for slip, value in (slips or {}).items():
        if _same(numbers, value, rtol):
            raise Wrong(message, slip)
    raise Wrong(message, hint)


def _same(numbers: np.ndarray, wanted: Any, rtol: float) -> bool:
    wanted = np.asarray(wanted, dtype=float)
    if numbers.shape != wanted.shape:
        return False
    return bool(np.allclose(numbers, wanted, rtol=rtol, atol=rtol * 1e-3, equal_nan=True))


def _first_difference(numbers: np.ndarray, wanted: np.ndarray,
                      rtol: float) -> tuple[str, tuple[int, ...]]:
    far = ~np.isclose(numbers, wanted, rtol=rtol, atol=rtol * 1e-3, equal_nan=True)
    first = tuple(int(i) for i in np.argwhere(far)[0])
    return (f" at [{', '.join(map(str, first))}]" if first else ""), first


def demand(condition: bool, message: str, hint: str = "") -> None:
    """Wrong unless the condition holds."""
    if not condition:
        raise Wrong(message, hint)


class Answer:
    """The names that a lesson defines; one that is missing or unfinished is Wrong."""

    def __init__(self, text: str, name: str):
        self._names: dict[str, Any] = {"__name__": "lesson"}
        self._unfinished = unfinished(text)
        exec(compile(text, name, "exec"), self._names)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise Wrong(f"there is no `{name}` in this lesson any more",
                        "Bring its `def` back from the first version: `git checkout` knows it.")
        if name in self._unfinished:
            gap = self._unfinished[name]
            raise Wrong(f"`{gap.where}` still has `...` in line {gap.line}: write what belongs "
                        "there", f"its first line says: {gap.task}")
        return self._names[name]


def definitions(text: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a lesson by their names."""
    return {node.name: node for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)}


class Gap(NamedTuple):
    """The first `...` of a function or class: in which line, of what, and what that is for."""

    line: int
    where: str
    task: str


def unfinished(text: str) -> dict[str, Gap]:
    """The gap of each function or class that has one."""
    found = {}
    for name, node in definitions(text).items():
        inner = [part for part in node.body if isinstance(part, ast.FunctionDef)]
        for part in inner if isinstance(node, ast.ClassDef) else [node]:
            lines = [leaf.lineno for leaf in ast.walk(part)
                     if isinstance(leaf, ast.Constant) and leaf.value is ...]
            if lines and name not in found:
                where = name if part is node else f"{name}.{part.name}"
                task = ast.get_docstring(part) or ast.get_docstring(node) or name
                found[name] = Gap(min(lines), where, task.splitlines()[0])
    return found


def lessons() -> dict[str, Path]:
    """All lessons by their number: "07" is the path of lesson 7."""
    return {path.name[:2]: path for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))}


def read(path: Path) -> str:
    """The code of a lesson, from a script or a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"^(?=[%!])", "# ", code, flags=re.MULTILINE)  # %matplotlib, !pip: Jupyter's own


def solved(stub: str, solution: str) -> str:
    """The lesson with the solution's functions in place of its own."""
    lines = stub.splitlines()
    answers = definitions(solution)
    source = solution.splitlines()
    for name, node in reversed(definitions(stub).items()):  # from the end: line numbers stay
        if name in answers:
            answer = answers[name]
            lines[node.lineno - 1 : node.end_lineno] = source[answer.lineno - 1 : answer.end_lineno]
    return "\n".join(lines) + "\n"


def solution_of(path: Path) -> str:
    return (FOLDER / "solutions" / path.with_suffix(".py").name).read_text(encoding="utf-8")


def checks_of(path: Path) -> ModuleType:
    """The module of a lesson's checks: functions `check_...`, in the order of the lesson."""
    file = FOLDER / "checks" / path.with_suffix(".py").name
    spec = importlib.util.spec_from_file_location(f"check_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grade(path: Path, text: str | None = None) -> Report:
    """The report on the lesson at `path`, or on another text of it."""
    if text is None:
        text = read(path)
    checks = [check for name, check in vars(checks_of(path)).items() if name.startswith("check_")]
    right = 0
    try:
        with np.errstate(all="ignore"):  # a wrong answer may divide by 0
            answer = Answer(text, path.name)
            for check in checks:
                check(answer)
                right += 1
        for name in definitions(solution_of(path)):
            getattr(answer, name)
    except Wrong as wrong:
        return Report(False, right, len(checks), str(wrong), wrong.hint)
    except SyntaxError as error:
        line = (error.text or "").strip()
        return Report(False, 0, len(checks), f"line {error.lineno} is not Python: `{line}`",
                      f"{error.msg}.")
    except Exception as error:
        return _stopped(error, path.name, text, right, len(checks))
    return Report(bool(checks), right, len(checks), "all right")


def _own_places(error: BaseException, name: str) -> list[traceback.FrameSummary]:
    """The lines of the lesson among those that an error has passed, the last one last."""
    return [frame for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == name]


def _stopped(error: Exception, name: str, text: str, right: int, total: int) -> Report:
    """The report on code that raised an error: its own line, not the grader's."""
    what = f"{type(error).__name__}: {error}"
    places = _own_places(error, name)
    if not places:  # the answer has come back, and the grader cannot read it
        return Report(False, right, total, f"what came out cannot be checked: {what}",
                      "Does the function return what its first line says, in that order?")
    last = places[-1]
    line = text.splitlines()[(last.lineno or 1) - 1].strip()
    hint = "Print the shapes and values that go into this line."
    if "NoneType" in what:
        hint = "A part of it is None: something above it returns nothing."
    return Report(False, right, total,
                  f"line {last.lineno} of `{last.name}` stops with {what}\n    {line}", hint)


def endless(stop: KeyboardInterrupt, name: str, seconds: float) -> Report:
    """The report on code that was interrupted."""
    where = ""
    for place in _own_places(stop, name)[-1:]:
        where = f", in line {place.lineno} of `{place.name}`"
    return Report(False, 0, 1, f"no answer after {seconds:g} s{where}",
                  "Does a loop there ever end?")
