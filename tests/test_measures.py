"""What is measured instead of lines: density and complexity are bounded, size is only watched.

A line budget makes code dense; these bounds hold what a reader feels instead. Each test prints its
figure (`python -m pytest tests/test_measures.py -s`). Nothing is imported: the source is read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.project import below
from tests.test_architecture import ROOT, code_lines

Function = ast.FunctionDef | ast.AsyncFunctionDef

PARALLEL_ASSIGNMENTS = 8  # per 1,000 lines that are not blank
CONDITIONAL_EXPRESSIONS = 20  # per 1,000 lines that are not blank
LONG_LINES = 0.05  # share of lines over 88 columns; ruff forbids any over 100
PARAMETERS = 8
FUNCTION_LINES = 60  # of code
FILE_LINES = 350  # of code
LIBRARY_LINES = 21_500  # of code: watched, so that no growth goes unseen; density is what is held

# Named exceptions: each a function whose parameters are settings that users type by name.
MANY_PARAMETERS = {
    "data/loader.py: __init__", "functional/dropconnect.py: dropconnect_reference",
    "functional/dropconnect.py: _dropconnect", "functional/dropconnect.py: dropconnect_conv2d",
    "functional/norm.py: batch_norm", "models.py: resnet",
    "nn/blocks.py: __init__", "nn/noise.py: __init__",
    "train/trainer.py: __init__",
}
LONG_FUNCTIONS: set[str] = set()


@cache
def sources() -> dict[str, str]:
    """The text of every file of the library, by its path below tinynet/."""
    library = ROOT / "tinynet"
    return {path.relative_to(library).as_posix(): path.read_text(encoding="utf-8")
            for path in below(library)}


@cache
def _nodes() -> list[tuple[str, ast.AST]]:
    return [(name, node) for name, text in sources().items() for node in ast.walk(ast.parse(text))]


def _functions() -> Iterator[tuple[str, Function]]:
    for name, node in _nodes():
        if isinstance(node, Function):
            yield f"{name}: {node.name}", node


def _lines() -> list[str]:
    return [line for text in sources().values() for line in text.splitlines() if line.strip()]


def is_parallel(node: ast.AST) -> bool:
    """``a, b = x, y``, except a swap, whose two sides are the same names."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    targets = [target for target in node.targets if isinstance(target, ast.Tuple)]
    if not targets or len(targets[0].elts) != len(node.value.elts):
        return False
    left = sorted(ast.unparse(part) for part in targets[0].elts)
    right = sorted(ast.unparse(part) for part in node.value.elts)
    return left != right


def test_a_swap_and_the_parts_of_one_value_are_not_parallel_assignments() -> None:
    def parallel(line: str) -> bool:
        return is_parallel(ast.parse(line).body[0])

    assert parallel("a, b = x, y")
    assert parallel("self.a, b[0] = 1, 2")
    assert not parallel("a, b = b, a")
    assert not parallel("a, b = x.shape")
    assert not parallel("a = x, y")


def test_parallel_assignments_are_few() -> None:
    rate = 1000 * sum(is_parallel(node) for _, node in _nodes()) / len(_lines())
    print(f"parallel assignments per 1,000 lines: {rate:.1f}")
    assert rate <= PARALLEL_ASSIGNMENTS


def test_conditional_expressions_are_few() -> None:
    rate = 1000 * sum(isinstance(node, ast.IfExp) for _, node in _nodes()) / len(_lines())
    print(f"conditional expressions per 1,000 lines: {rate:.1f}")
    assert rate <= CONDITIONAL_EXPRESSIONS


def test_long_lines_are_few() -> None:
    share = sum(len(line) > 88 for line in _lines()) / len(_lines())
    print(f"lines over 88 columns: {100 * share:.1f} %")
    assert share <= LONG_LINES


def parameters(function: Function) -> int:
    """How many a caller may give: without self and cls."""
    a = function.args
    names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    own = bool(names) and names[0] in ("self", "cls")
    return len(names) - own + (a.vararg is not None) + (a.kwarg is not None)


def test_functions_take_few_parameters() -> None:
    many = {name for name, node in _functions() if parameters(node) > PARAMETERS}
    print(f"functions with more than {PARAMETERS} parameters: {len(many)}")
    assert many <= MANY_PARAMETERS
    assert many >= MANY_PARAMETERS, "no longer an exception: take it off the list"


def test_functions_are_short() -> None:
    tall = {name: node for name, node in _functions()  # the others cannot be long
            if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES}
    long = {name for name, node in tall.items() if code_lines(ast.unparse(node)) > FUNCTION_LINES}
    print(f"functions over {FUNCTION_LINES} lines of code: {len(long)}")
    assert long <= LONG_FUNCTIONS
    assert long >= LONG_FUNCTIONS, "no longer an exception: take it off the list"


def test_files_are_short() -> None:
    counts = {name: code_lines(text) for name, text in sources().items()}
    longest = max(counts, key=lambda name: counts[name])
    print(f"longest file: {longest}, {counts[longest]} lines of code")
    assert counts[longest] <= FILE_LINES


def test_test_files_and_scripts_are_short() -> None:
    for folder in ("tests", "examples", "bench"):
        for path in below(ROOT / folder):
            text = path.read_text(encoding="utf-8")
            assert text.count("\n") <= FILE_LINES or code_lines(text) <= FILE_LINES, path


def test_the_library_stays_in_its_size() -> None:
    total = sum(code_lines(text) for text in sources().values())
    print(f"lines of code in tinynet/: {total:,}")
    assert total <= LIBRARY_LINES
