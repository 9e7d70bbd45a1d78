"""What a module offers: its public names, for tab completion and `dir()`.

Public is what stands in `__all__`, or, without one, what the file defines or hands on
(``from .x import y as y``) and what does not begin with an underscore. Its tools,
``from typing import Any``, are not.

Read next: `foreign.py`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator


def lister(module: str) -> Callable[[], list[str]]:
    """The `__dir__` of a module: ``__dir__ = lister(__name__)``."""

    def names() -> list[str]:
        here = sys.modules[module]
        listed = getattr(here, "__all__", None)
        if listed is not None:
            return sorted(listed)
        try:
            tree = ast.parse(inspect.getsource(here))
        except (OSError, SyntaxError):  # no source beside the program
            return sorted(name for name in vars(here) if not name.startswith("_"))
        found = {name for node in tree.body for name in _defined(node)}
        return sorted(name for name in found if not name.startswith("_"))

    return names


def _defined(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module makes public."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.ImportFrom):  # `y as y` is a promise, `y` alone a tool
        yield from (alias.name for alias in node.names if alias.name == alias.asname)
