"""A contact sheet: rows of small pictures, each row with its name. Look at what the net will see.

Read next: `viz/answers.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
from .canvas import new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP = 2  # pixels between two pictures


def contact_sheet(rows: Mapping[str, Any], path: str | os.PathLike[str] | None = None,
                  title: str = "", zoom: float = 1.5) -> Figure:
    """Draw each row's pictures (n, C, H, W), C = 1 or 3, side by side into the file `path`.

    uint8 pictures are shown as they are, floats from 0 (black) to 1 (white). Sizes may
    differ from row to row; a pixel is as large everywhere, `zoom` times 1/100 inch.
    """
    pictures = {name: as_bytes(name, to_numpy(row)) for name, row in rows.items()}
    if not pictures:
        raise ValueError("rows must hold at least one row of pictures, got none")
    width = max(len(row) * (row.shape[2] + _GAP) for row in pictures.values())
    height = sum(row.shape[1] + _GAP for row in pictures.values())
    sheet = np.full((height, width, 3), 255, np.uint8)
    top = 0
    places = []
    for row in pictures.values():
        for i, picture in enumerate(row):
            h, w, _ = picture.shape
            sheet[top : top + h, i * (w + _GAP) : i * (w + _GAP) + w] = picture
        places.append(top + row.shape[1] / 2 - 0.5)
        top += row.shape[1] + _GAP
    scale = zoom / 100.0
    names = 0.1 * max(map(len, pictures)) + 0.3  # inches
    figure, (panel,) = new_figure(1, 1, (width * scale + names, height * scale + 0.5))
    panel.imshow(sheet, interpolation="nearest")
    panel.set_anchor("W")
    panel.grid(False)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    panel.set_xticks([])
    panel.set_yticks(places, labels=list(pictures))
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return save(figure, path)


def as_bytes(name: str, row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n, H, W, 3) uint8."""
    if row.ndim != 4 or row.shape[1] not in (1, 3):
        raise ValueError(f"row {name!r} must be pictures (n, C, H, W) with 1 or 3 "
                         f"channels, got shape {row.shape}")
    if row.dtype.kind == "f":
        row = np.clip(row * 255.0, 0.0, 255.0).round()
    row = np.asarray(row).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.broadcast_to(row, (*row.shape[:3], 3))
