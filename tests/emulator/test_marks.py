"""Tests that CuPy does not run are few, each says why, and all stand in numpy_only.txt."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.project import below

TESTS = Path(__file__).resolve().parents[1]
LISTED = TESTS / "emulator" / "numpy_only.txt"


def _reason(node: ast.AST, names: dict[str, str]) -> str | None:
    """The text of ``pytest.mark.numpy_only("text")``, which may have a name in the file."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.numpy_only":
        (why,) = node.args
        return names[why.id] if isinstance(why, ast.Name) else ast.literal_eval(why)
    return None


def marked() -> Iterator[str]:
    """A line for each marked test, and for each file that is marked as a whole."""
    for path in below(TESTS, "test_*.py"):
        name, names = path.relative_to(TESTS).as_posix(), {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign):
                if isinstance(node.value, ast.Constant):
                    names[ast.unparse(node.targets[0])] = node.value.value
                elif why := _reason(node.value, names):
                    yield f"{name}: {why}"
            for decorator in getattr(node, "decorator_list", []):
                if why := _reason(decorator, names):
                    yield f"{name}::{node.name}: {why}"  # type: ignore[attr-defined]


def test_the_list_is_right() -> None:
    """To renew it: python -m tests.emulator.test_marks"""
    found = list(marked())
    assert LISTED.read_text(encoding="utf-8").splitlines() == found
    assert len(found) <= 60


def test_no_test_asks_for_the_backend_to_leave_early() -> None:
    """``if on_gpu: return`` would hide a test from the list."""
    for path in below(TESTS, "test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.If) and "on_gpu" in ast.unparse(node.test):
                assert not any(isinstance(line, ast.Return) for line in node.body), \
                    f"{path}:{node.lineno}"


if __name__ == "__main__":
    LISTED.write_text("".join(f"{line}\n" for line in marked()), encoding="utf-8")
