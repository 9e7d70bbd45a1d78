"""What every picture starts and ends with: a figure without a display, and its file.

Figures are drawn on matplotlib's Agg canvas, as objects: no display is needed, and
neither pyplot nor any other global state is touched, so a notebook's own figures are
left alone.

Read next: `viz/curves.py`.
"""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
TRAIN = "#0072B2"
VAL = "#D55E00"
QUIET = "#999999"
GOOD = "#009E73"
PALETTE = (TRAIN, VAL, GOOD, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LARGEST = 1e100  # beyond it an axis cannot add its margins


def new_figure(rows: int, columns: int, size: tuple[float, float]
               ) -> tuple[Figure, list[Axes]]:
    """A figure of `size` inches and its panels, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    # a notebook without pyplot does not know how to show a figure: this one knows itself
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    axes = list(np.ravel(figure.subplots(rows, columns)))
    for panel in axes:
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def entitle(panel: Axes, title: str, unit: str) -> None:
    """The panel's title, and what stands on its y axis."""
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    panel.set_ylabel(unit)


def look(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th line of a picture."""
    dashes = ("-", "--", ":")[i // len(PALETTE) % 3]
    return {"color": PALETTE[i % len(PALETTE)], "linestyle": dashes}


def drawn(text: str) -> str:
    """A text of yours as a picture can hold it: no formula, and no half of a letter.

    >>> drawn("5 $") == "5 " + chr(92) + "$"
    True
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def save(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure, if there is a `path`; its suffix says the kind (.png, .pdf, .svg)."""
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    return figure


def _png(figure: Figure) -> bytes:
    """The figure as a notebook shows it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
