"""A lesson's text as cells, and as a notebook for Jupyter without jupytext."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """`kind` is "markdown" or "code"."""

    kind: str
    source: str


def cells(text: str) -> list[Cell]:
    """The cells of a script in percent format; prose without its leading `# `."""
    found = []
    for mark, body in re.findall(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", text, re.M | re.S):
        source = body.strip("\n")
        if mark:
            source = re.sub(r"^# ?", "", source, flags=re.M)
        found.append(Cell("markdown" if mark else "code", source))
    return found


def notebook(text: str) -> str:
    """The same as the text of an .ipynb file, without outputs."""
    made: list[dict[str, Any]] = []
    for i, cell in enumerate(cells(text)):
        entry: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell-{i}", "metadata": {},
                                 "source": cell.source.splitlines(keepends=True)}
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": []}
        made.append(entry)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
             "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"
