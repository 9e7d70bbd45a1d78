"""The anatomy of a training step, drawn: where the time goes, what is kept, how much code is read.

Read next: `viz/search.py`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..train.anatomy import Anatomy
from .canvas import TRAIN, VAL, entitle, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = 0.34  # inches for each stage


def plot_anatomy(anatomy: Anatomy, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw what `train.trace` found into the file `path`: a bar for each stage of the step.

    Milliseconds forward and, behind them, backward; kilobytes that wait for the
    backward pass; and the library's files and functions that are entered.
    """
    rows = anatomy.rows
    figure, panels = new_figure(1, 3, (11.0, 1.4 + ROW * len(rows)))
    time, memory, code = panels
    places = range(len(rows))
    forward = [1e3 * row.forward for row in rows]
    backward = [1e3 * row.backward for row in rows]
    time.barh(places, forward, color=TRAIN, label="forward")
    time.barh(places, backward, left=forward, color=VAL, label="backward")
    time.legend(frameon=False)
    memory.barh(places, [row.kept / 1e3 for row in rows], color=TRAIN)
    code.barh(places, [len(row.functions) for row in rows], color=TRAIN)
    for place, row in enumerate(rows):
        files = len(row.files)
        code.annotate(f" {files} files", (len(row.functions), place), va="center", fontsize=8)
    code.margins(x=0.25)
    titles = ("Time", "milliseconds"), ("Kept for backward", "kilobytes"), ("Entered", "functions")
    for panel, (title, unit) in zip(panels, titles, strict=True):
        entitle(panel, title, "")
        panel.set_xlabel(unit)
        panel.set_yticks(places)
        panel.set_yticklabels([])
        panel.invert_yaxis()
    time.set_yticklabels([f"{row.name}  {row.layer}".strip() for row in rows])
    return save(figure, path)
