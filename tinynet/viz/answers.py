"""Answers to look at: pictures with their classes, and the confusion matrix.

Read next: `viz/page.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
from ..checks import check_whole
from ..train.confusion import ConfusionMatrix
from .canvas import GOOD, QUIET, VAL, new_figure, save
from .contact_sheet import as_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 200  # pictures in one figure
_NUMBERED = 20  # classes up to which each cell says its count


def plot_predictions(images: Any, probabilities: Any, classes: Sequence[str],
                     path: str | os.PathLike[str] | None = None, *, labels: Any = None,
                     columns: int = 5, title: str = "") -> Figure:
    """Draw pictures (N, C, H, W), each with its most probable class and the next one.

    `probabilities` are (N, classes). With `labels` a right answer is green, and below a
    wrong one stands what the picture is.
    """
    pictures = as_bytes("images", to_numpy(images))
    chances = to_numpy(probabilities)
    _check_chances(chances, len(pictures), len(classes))
    columns = min(check_whole("columns", columns), len(pictures))
    rows = -(-len(pictures) // columns)
    height = 2.5 * rows + 0.4 * bool(title)
    figure, panels = new_figure(rows, columns, (2.1 * columns, height))
    for panel in panels:
        panel.set_axis_off()
    for i, (panel, picture) in enumerate(zip(panels, pictures, strict=False)):
        smooth = "nearest" if max(picture.shape[:2]) < 100 else "antialiased"
        panel.imshow(picture, interpolation=smooth)
        first, *others = np.argsort(-chances[i], kind="stable").tolist()
        colour = "black"
        below = ""
        if others:
            below = f"{classes[others[0]]} {chances[i, others[0]]:.0%}"
        if labels is not None:
            right = int(labels[i]) == first
            colour = GOOD if right else VAL
            if not right:
                below = f"is {classes[int(labels[i])]} {chances[i, int(labels[i])]:.0%}"
        panel.set_title(f"{classes[first]} {chances[i, first]:.0%}", fontsize=10,
                        color=colour, fontweight="bold", pad=3)
        panel.text(0.5, -0.03, below, transform=panel.transAxes, ha="center", va="top",
                   fontsize=9, color="#444444")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return save(figure, path)


def _check_chances(chances: Any, pictures: int, classes: int) -> None:
    if chances.shape != (pictures, classes):
        raise ValueError("probabilities must have a row for each picture and a "
                         "column for each "
                         f"class, ({pictures}, {classes}), got shape {chances.shape}")
    if not 0 < pictures <= _MOST:
        raise ValueError(f"images must hold 1 to {_MOST} pictures for one figure, "
                         f"got {pictures}: "
                         "take a part of them")
    if not (chances.min() >= 0.0 and chances.max() <= 1.0 + 1e-6):
        raise ValueError("probabilities must lie in 0..1, got "
                         f"{chances.min():.4g} to {chances.max():.4g}: of scores take "
                         "F.softmax(tn.tensor(scores)).numpy()")


def plot_confusion(matrix: ConfusionMatrix, path: str | os.PathLike[str] | None = None,
                   title: str = "") -> Figure:
    """Draw a confusion matrix: colours are shares of a true class, numbers counts."""
    if not isinstance(matrix, ConfusionMatrix):
        raise TypeError("matrix must be a train.confusion_matrix(labels, "
                        "predictions), got "
                        f"{type(matrix).__name__}")
    counts = matrix.counts
    n = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 2.6 + 0.52 * n)
    figure, (panel,) = new_figure(1, 1, (side, side - 0.4))
    panel.grid(False)
    depth = np.sqrt(share)  # so that a few are seen, too
    panel.imshow(depth, cmap="Blues", vmin=0.0, vmax=1.0)
    if n <= _NUMBERED:
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    colour = "white" if depth[i, j] > 0.6 else "black"
                    panel.text(j, i, f"{counts[i, j]}", ha="center", va="center",
                               fontsize=8, color=colour)
    panel.set_xticks(range(n), labels=matrix.classes, rotation=90)
    panel.set_yticks(range(n), labels=matrix.classes)
    panel.tick_params(length=0, labelsize=9 if n <= 40 else 5)
    panel.spines[["left", "bottom"]].set_color(QUIET)
    panel.set_xlabel("answer")
    panel.set_ylabel("what it is")
    title = title or f"{matrix.accuracy:.1%} of {counts.sum():,} right"
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return save(figure, path)
