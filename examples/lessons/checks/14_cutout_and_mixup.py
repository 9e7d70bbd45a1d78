"""Squares in the middle and over the edge, and proportions that are not one half."""

from __future__ import annotations

import numpy as np
from grading import Answer, close, demand


def holed(row: int, column: int, size: int) -> np.ndarray:
    x = np.arange(1.0, 73.0).reshape(2, 6, 6)
    for i in range(row - size // 2, row - size // 2 + size):
        for j in range(column - size // 2, column - size // 2 + size):
            if 0 <= i < 6 and 0 <= j < 6:
                x[:, i, j] = 0
    return x


def check_cutout(answer: Answer) -> None:
    x = np.arange(1.0, 73.0).reshape(2, 6, 6)
    before = x.copy()
    close("cutout around (3, 2), size 2", answer.cutout(x, 3, 2, 2), holed(3, 2, 2),
          "The square begins at row - size // 2.",
          {"(row, column) is the centre, not the corner.": holed(4, 3, 2),
           "All channels have the hole.": np.stack([holed(3, 2, 2)[0], before[1]]),
           "Nothing is hidden.": before})
    demand(bool((x == before).all()), "the picture that came in was changed",
           "Write into a copy: the picture is wanted again in the next epoch.")
    inside = holed(2, 3, 4)
    close("cutout around (0, 3), size 4, over the upper edge", answer.cutout(x, 0, 3, 4),
          holed(0, 3, 4), "Begin at max(top, 0), and end at top + size.",
          {"A slice that begins below 0 counts from the end, and is empty: max(top, 0).": before,
           "What hangs over is lost: the square is not moved inside.": inside,
           "The square ends at top + size, also if it began before 0.":
               np.where(np.arange(6)[:, None] < 4, holed(2, 3, 4), before)})
    close("cutout around (5, 5), size 4, over the lower corner", answer.cutout(x, 5, 5, 4),
          holed(5, 5, 4), "Slices may end beyond the picture.")


def check_mean_hidden(answer: Answer) -> None:
    close("mean_hidden(32, 8)", answer.mean_hidden(32, 8), 0.0549316, "1 - what is left",
          {"That is what is left: 1 minus it.": 1 - 0.0549316}, rtol=1e-4)


def check_mixup(answer: Answer) -> None:
    x = np.array([[1.0, 2.0], [3.0, 5.0], [-1.0, 0.0]])
    before = x.copy()
    y = np.eye(3)
    order = np.array([1, 2, 0])
    mixed, labels = answer.mixup(x, y, 0.4, order)
    close("the array of mixed pictures, lam = 0.4,", mixed, 0.4 * before + 0.6 * before[order],
          "lam x + (1 - lam) x[order]",
          {"lam belongs to the picture itself, 1 - lam to the other.":
               0.6 * before + 0.4 * before[order],
           "The two shares have to sum to 1.": 0.4 * before + before[order]})
    close("the array of mixed labels, lam = 0.4,", labels, 0.4 * y + 0.6 * y[order],
          "lam y + (1 - lam) y[order]",
          {"The labels are mixed as well: here they are those of the first picture.": y,
           "Labels and pictures are mixed in the same proportion: here they are swapped.":
               0.6 * y + 0.4 * y[order],
           "Half and half, whatever lam is: the same lam as for the pictures.":
               0.5 * y + 0.5 * y[order]})
    demand(bool((x == before).all()), "the batch that came in was changed",
           "lam * x makes a new array; `x *= lam` changes the batch.")


def check_mixed_loss(answer: Answer) -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    y = np.array([[0.4, 0.6, 0.0], [0.0, 0.25, 0.75]])
    each = -(y * np.log(p)).sum(axis=1)
    close("mixed_loss", answer.mixed_loss(np.log(p), y), each.mean(), "-(y * log_p), summed, mean",
          {"A loss is positive: the minus is missing.": -each.mean(),
           "Sum over the classes, then the mean over the batch.": each.mean() / 3,
           "The mean over the batch, not the sum.": each.sum(),
           "log_p has the logarithm already.":
               -(y * np.log(np.abs(np.log(p)))).sum(axis=1).mean()})
