"""The house stands as planned: floors, cycles, third-party imports, a quick import.

Nothing is imported here to find out: the tests read the source text.
"""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import project

ROOT = project.ROOT

# A module imports only from lower floors. On one floor a file may import the other files of its
# package, and single-file modules their floor mates, without a cycle; packages never one another.
FLOORS = {
    "backend": 0, "checks": 0, "files": 0, "foreign": 0, "locks": 0, "names": 0, "random": 0,
    "text": 0,
    "kernels": 1,
    "graph": 2, "tensor": 2, "operation": 2, "rules": 2, "late": 2, "fast_calls": 2, "ops": 2,
    "functional": 3, "calculus": 3,
    "gradcheck": 4, "nn": 4, "optim": 4, "data": 4,
    "train": 5, "models": 5,
    "tune": 6,
    "viz": 7,
    "__init__": 8, "twins": 8, "__main__": 8,
}
# data knows arrays only, although tensors live below it.
ENGINE = ("graph", "tensor", "operation", "rules", "late", "fast_calls", "ops")
NEVER = {("data", room) for room in (*ENGINE, "functional")}

# Imported inside functions, by those who need them; PIL is Pillow.
LAZY = {"matplotlib", "tqdm", "pooch", "requests", "safetensors", "threadpoolctl", "PIL", "mpi4py",
        "tensorboard"}


class Import(NamedTuple):
    """One imported module and when: with the file ("top"), in a function ("late"), or never, for
    type checkers alone ("types")."""

    name: str
    line: int
    when: str


@cache
def modules() -> dict[str, Path]:
    """Every module of the library by its dotted name; a package stands for its __init__.py."""
    found = {}
    for path in project.below(ROOT / "tinynet"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, path: Path) -> list[Import]:
    """What `path` imports: `from .x import y` is tinynet.x.y where that is a module, or else x."""
    known = set(modules()) | {f"tinynet.{name}" for name in FLOORS}
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node, when in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, when) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found += [Import(name, node.lineno, when) for name in sorted(names & known)]
            if not names <= known:
                found.append(Import(source, node.lineno, when))
    return found


def _statements(node: ast.AST, when: str = "top") -> Iterator[tuple[ast.AST, str]]:
    """All nodes, each with the time at which it runs."""
    for child in ast.iter_child_nodes(node):
        yield child, when
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _statements(child, "types")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and when == "top":
            yield from _statements(child, "late")
        else:
            yield from _statements(child, when)


def room(module: str) -> str:
    """The part of the house a module stands in: tinynet.nn.layers is in `nn`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def is_package(name: str) -> bool:
    return (ROOT / "tinynet" / name).is_dir()


def _edges(module: str) -> Iterator[Import]:
    """The imports of a module that stay inside the library."""
    for found in imports(module, modules()[module]):
        if found.name.split(".")[0] == "tinynet":
            yield found


MODULES = sorted(modules())


def test_imports_go_down() -> None:
    wrong = [complaint for module in MODULES for complaint in _upstairs(module)]
    assert not wrong, "\n".join(wrong)


def _upstairs(module: str) -> Iterator[str]:
    """What is wrong with the imports of a module."""
    here = room(module)
    if here not in FLOORS:
        yield f"{here} stands on no floor: give it one in {Path(__file__).name}"
        return
    for found in _edges(module):
        there = room(found.name)
        edge = f"{module}:{found.line} (floor {FLOORS[here]}) imports {found.name} " \
               f"(floor {FLOORS.get(there)})"
        if there not in FLOORS:
            yield f"{edge}: on no floor"
        elif (here, there) in NEVER:
            yield f"{edge}: never"
        elif FLOORS[there] > FLOORS[here]:
            yield f"{edge}: that is upstairs"
        elif here != there and FLOORS[here] == FLOORS[there] \
                and is_package(here) and is_package(there):
            yield f"{edge}: packages side by side"


def test_no_import_cycles() -> None:
    """Those for types included."""
    graph = {module: {found.name for found in _edges(module)} & set(MODULES) for module in MODULES}
    state: dict[str, str] = {}

    def visit(module: str, path: list[str]) -> None:
        if state.get(module) == "open":
            loop = path[path.index(module):]
            pytest.fail("import cycle: " + " -> ".join([*loop, module]))
        if module not in state:
            state[module] = "open"
            for other in sorted(graph[module] - {module}):
                visit(other, [*path, module])
            state[module] = "done"

    for module in MODULES:
        visit(module, [])


def test_third_party_modules_are_imported_where_they_are_used() -> None:
    wrong = [complaint for module in MODULES for complaint in _imported_early(module)]
    assert not wrong, "\n".join(wrong)


def _imported_early(module: str) -> Iterator[str]:
    """The imports of a module that are of no dependency, or come with the file."""
    for found in imports(module, modules()[module]):
        first = found.name.split(".")[0]
        if first in sys.stdlib_module_names or first in ("tinynet", "numpy"):
            continue
        where = f"{module}:{found.line} imports {found.name}"
        if first not in LAZY | {"cupy", "cupyx"}:
            yield f"{where}: not a dependency"
        elif found.when == "top":
            yield f"{where} with the file: move it into the function that uses it"


def test_lazy_modules_are_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = [*project["dependencies"], *optional["mpi"], *optional["tensorboard"]]
    names = {re.match(r"[\w-]+", line)[0] for line in declared}  # type: ignore[index]
    started = {"mpich"}  # a launcher, which nothing imports
    assert names - started == LAZY - {"PIL"} | {"pillow", "numpy"}


def _examples() -> list[Path]:
    return project.below(ROOT / "examples")


def test_examples_use_the_public_api() -> None:
    hidden = {f"tinynet.{name}" for name in ("backend", "kernels", *ENGINE)}
    for path in _examples():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(ROOT)
        for found in imports(f"examples.{path.stem}", path):
            inner = ".".join(found.name.split(".")[:2])
            assert inner not in hidden, f"{where}:{found.line} imports {found.name}: not public"
            assert "._" not in found.name, f"{where}:{found.line} imports {found.name}: private"
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinynet"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{where}:{node.lineno} imports {private}: private"
            if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr) \
                    and node.attr not in ("_asdict", "_replace"):  # a NamedTuple's, documented
                owner = ast.unparse(node.value)
                assert owner == "self", f"{where}:{node.lineno} uses {owner}.{node.attr}: private"


# Lines of code: tests/test_measures.py

@cache
def code_lines(text: str) -> int:
    """Lines of code: without blanks, comments and docstrings."""
    lines: set[int] = set()
    idle = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in idle:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) \
                and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_code_lines_counts_code_only() -> None:
    text = '"""Doc.\n\nMore."""\n\nx = (1,\n     2)  # why\n# no\n\n'
    text += 'def f():\n    "doc"\n    return x\n'
    assert code_lines(text) == 4


# The import

@pytest.mark.numpy_only("on CuPy the import also loads CuPy")
def test_import_loads_numpy_alone_and_is_quick(tmp_path: Path) -> None:
    keeps = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    heavy = ["matplotlib", "scipy", "tqdm", "pooch", "safetensors", "threadpoolctl", "cupy",
             "torch", "PIL", "multiprocessing"]
    script = (
        "import sys; from time import process_time as now; start = now(); import numpy;"
        "middle = now(); import tinynet; end = now(); print(end - start, end - middle,"
        f" *[name for name in {heavy} if name in sys.modules])"
    )
    best_total, best_own = 9.0, 9.0
    for _ in range(12):  # its own seconds alone: on a busy machine the clock says nothing
        result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, text=True, env=keeps,
                                capture_output=True, check=True)  # compiled by the first run
        total, own, *loaded = result.stdout.split()
        assert not loaded, f"import tinynet also loads {loaded}"
        best_total, best_own = min(best_total, float(total)), min(best_own, float(own))
        if best_total < 0.3 and best_own < 0.2:
            return
    pytest.fail(f"import tinynet computes for {best_total:.2f} s, {best_own:.2f} s beyond NumPy: "
                "less than 0.3 and 0.2 wanted")


# What may not stand in a file

FORBIDDEN = {
    "a path of one machine": r"(?<![\w.}~])/(?:home|root|Users|f[a]rm|work)/\w",
    "a folder outside the project": r"\.l[i]brary\b|\.\./s[h]ared",
    "a machine of one workplace": r"\bf[a]rm-[a-z]+\b",
    "an unfinished place": r"\b(?:TO[D]O|FIX[M]E|X[X]X|NotImplemented[E]rror)\b",
    "a test that does not run": r"pytest\.s[k]ip\(|mark\.(?:s[k]ip|x[f]ail)|assert T[r]ue",
    "a registry's address": r"pypi\.[o]rg|files\.python[h]osted|registry\.npm[j]s",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    hits = []
    for path, text in project.texts():
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not hits, f"{what} stands in: {hits}"
