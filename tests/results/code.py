"""Which code a result depends on, and its hash."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

PARTS = ("tinynet", "examples", "bench")  # what is followed; tests only where they are the script
LINE = re.compile(r"Code `([0-9a-f]{12})`: (\S+) and what it imports\.")


def line(script: str, root: Path) -> str:
    """The last line of a result that `script` made."""
    return f"Code `{digest(script, root)}`: {script} and what it imports."


def digest(script: str, root: Path) -> str:
    """The hash of a script and of all that it imports from the project."""
    total = hashlib.sha256()
    for path in sorted(files_of(root / script, root)):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(code_of(path.read_text(encoding="utf-8")).encode())
    return total.hexdigest()[:12]


@functools.cache
def code_of(text: str) -> str:
    """The text without comments, docstrings, blank lines and spaces at the end of lines."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) \
                and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            for row in range(docstring.lineno, (docstring.end_lineno or 0) + 1):
                lines[row - 1] = ""
    return "\n".join(code.rstrip() for code in lines if code.strip())


def files_of(path: Path, root: Path) -> set[Path]:
    """A file and all that it imports, over any number of files.

    `import tinynet` adds `tinynet/__init__.py` alone, which names every part of the library; what
    a file takes from there (`tn.Tensor`) belongs to parts that it imports by other names too.
    """
    everything = root / "tinynet" / "__init__.py"
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            if path != everything:
                package = path.relative_to(root).parts[:-1]
                for parts in _imports(path.read_text(encoding="utf-8"), package):
                    waiting += _file(parts, root)
    return found


@functools.cache
def _imports(text: str, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names a file of `package` imports; each may be a module, or a thing in one."""
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else ()
            source = (*above, *filter(None, (node.module or "").split(".")))
            found += [source, *((*source, alias.name) for alias in node.names)]
    return found


def _file(parts: tuple[str, ...], root: Path) -> Iterator[Path]:
    """The file of a module, if the project has it."""
    if parts and parts[0] in PARTS:
        module = root.joinpath(*parts)
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.is_file():
                yield path
