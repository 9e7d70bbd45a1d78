"""The source of a lambda, which names a test better than `<lambda>` does."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from types import CodeType, LambdaType
from typing import cast

LONGEST = 70


def source_of(function: object) -> str:
    """What a lambda returns, as it is written, on one line and cut after 70 characters.

    >>> source_of(lambda x: x + 1)
    'x + 1'
    """
    code = cast(LambdaType, function).__code__
    around = [node for node in _lambdas(code.co_filename) if _holds(node, code)]
    body = ast.unparse(min(around, key=_extent).body)
    return body if len(body) <= LONGEST else body[:LONGEST - 3] + "..."


@functools.cache
def _lambdas(path: str) -> list[ast.Lambda]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"), path)
    return [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


def _holds(node: ast.Lambda, code: CodeType) -> bool:
    """Whether all that the code does is written inside this lambda, after its colon."""
    body = node.body
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno or 0, body.end_col_offset or 0)
    for line, end_line, column, end_column in code.co_positions():
        if not end_column:  # what begins a function has no place in the text
            continue
        if (line or 0, column or 0) < start or (end_line or 0, end_column) > end:
            return False
    return True


def _extent(node: ast.Lambda) -> tuple[int, int]:
    """Lines and columns: of two lambdas, one inside the other, the inner one has less."""
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset
