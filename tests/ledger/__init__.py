"""The ledger: every id of the lecture (CS231n lecture 8), and the tests that check it.

`ledger.toml` is the list, one entry for each id:

    status = "open"         no test names it yet; `part` says what will bring it
    status = "done"         `tests` check its whole statement in the default run
    status = "partly slow"  some clauses of it are done, others slow
    status = "slow"         every clause is slow

A clause is slow where only tests marked slow check it. So an id with such a test is listed clause
by clause, each with its own `tests`, and a slow one with `result`, the committed file that they
wrote (tests/results/ tells which of those are stale). All clauses of other ids are done.

A test names ids in its name (`test_A7_...`, `test_B2_B4_...`) or by `@pytest.mark.lecture("A7")`.
This module reads the list and finds such tests in the source text, so the answer is the same
whichever tests are selected to run. `update.py` brings the list up to date.
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.project import below

TESTS = Path(__file__).resolve().parent.parent
LEDGER = Path(__file__).with_name("ledger.toml")
_IDS = re.compile(r"test((?:_[A-H]\d+)+)(?![A-Za-z0-9])")

UNSORTED = "to be sorted into a clause"


class Found(NamedTuple):
    """A test that names lecture ids."""

    test: str  # as pytest calls it: tests/optim/test_sgd.py::test_A7_momentum
    ids: frozenset[str]
    slow: bool


def load(path: Path = LEDGER) -> dict[str, dict[str, Any]]:
    """The entries of the ledger by id."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def listed_tests(entry: dict[str, Any]) -> list[str]:
    """All tests that an entry lists, in its clauses or without any."""
    clauses = entry.get("clauses", {}).values()
    return [*entry.get("tests", []), *(test for clause in clauses for test in clause["tests"])]


def ids_in_name(name: str) -> list[str]:
    """The ids a test's name begins with.

    >>> ids_in_name("test_B2_B4_end_at_zero"), ids_in_name("test_a7_is_lower_case")
    (['B2', 'B4'], [])
    """
    match = _IDS.match(name)
    return match[1].split("_")[1:] if match else []


def scan(folder: Path = TESTS) -> list[Found]:
    """Every test below `folder` that names an id, from the source text alone."""
    return [found for path in below(folder, "test_*.py")
            for found in _scan_file(path, path.relative_to(folder.parent).as_posix())]


@functools.cache
def _scan_file(path: Path, name: str) -> list[Found]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [found for found in _tests(tree.body, name, _module_marks(tree.body)) if found.ids]


def _tests(body: list[ast.stmt], prefix: str, marks: list[ast.expr]) -> Iterator[Found]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inherited = [*marks, *node.decorator_list, *_module_marks(node.body)]
            yield from _tests(node.body, f"{prefix}::{node.name}", inherited)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            own = [*marks, *node.decorator_list]
            ids = frozenset([*ids_in_name(node.name), *_lecture_ids(own)])
            slow = any(_mark_name(mark) == "slow" for mark in own)
            yield Found(f"{prefix}::{node.name}", ids, slow)


def _module_marks(body: list[ast.stmt]) -> list[ast.expr]:
    """What `pytestmark = ...` assigns: one mark or a list of them."""
    marks: list[ast.expr] = []
    for node in body:
        if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "pytestmark"
                for target in node.targets):
            many = isinstance(node.value, ast.List | ast.Tuple)
            marks += node.value.elts if many else [node.value]  # type: ignore[attr-defined]
    return marks


def _mark_name(mark: ast.expr) -> str:
    """`slow` for pytest.mark.slow, `lecture` for pytest.mark.lecture("A7")."""
    if isinstance(mark, ast.Call):
        mark = mark.func
    is_mark = isinstance(mark, ast.Attribute) and ast.unparse(mark.value) == "pytest.mark"
    return mark.attr if is_mark else ""  # type: ignore[attr-defined]


def _lecture_ids(marks: Iterable[ast.expr]) -> Iterator[str]:
    for mark in marks:
        if isinstance(mark, ast.Call) and _mark_name(mark) == "lecture":
            yield from (ast.literal_eval(argument) for argument in mark.args)
