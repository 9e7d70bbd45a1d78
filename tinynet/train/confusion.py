r"""The confusion matrix, and the mistakes that a net is surest of.

    C[i, j] = number of pictures of class i that were answered with class j

The diagonal holds the right answers; a row's other numbers say what a class is taken
for.

Read next: `train/resume.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import text
from ..backend import HostArray, check_range, to_numpy
from ..checks import answering, check_whole
from .predict import as_labels, class_numbers


class ConfusionMatrix:
    """`counts` (K, K), rows are true classes, columns answers; print it for a table.

    NumPy takes it as the array of its counts, and ``matrix[i, j]`` is one of them.
    """

    def __init__(self, counts: HostArray, classes: Sequence[str]) -> None:
        self.counts = counts
        self.classes = tuple(classes)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        return np.array(self.counts, dtype)

    def __getitem__(self, place: Any) -> Any:
        return self.counts[place]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def shape(self) -> tuple[int, int]:
        """(K, K)."""
        return len(self.counts), len(self.counts)

    @property
    def accuracy(self) -> float:
        """Share of the pictures that were answered right."""
        return float(np.trace(self.counts) / self.counts.sum())

    def recall(self) -> HostArray:
        """Share of each true class that was answered right; nan of one without any."""
        return self._share(self.counts.sum(axis=1))

    def precision(self) -> HostArray:
        """Share of each class's answers that were right; nan where there were none."""
        return self._share(self.counts.sum(axis=0))

    def _share(self, totals: HostArray) -> HostArray:
        right = np.diag(self.counts).astype(np.float64)
        return np.where(totals > 0, right / np.maximum(totals, 1), np.nan)

    def table(self) -> str:
        """For each class how many were right, and what it is most often taken for."""
        return text.table(self._rows(), align="lrrl")

    def _rows(self) -> list[list[str]]:
        rows = [["class", "pictures", "right", "most often taken for"]]
        recall = self.recall()
        for label, name in enumerate(self.classes):
            wrong = self.counts[label].copy()
            total = int(wrong.sum())
            wrong[label] = 0  # what is left are the mistakes
            taken = "-"
            if wrong.any():
                taken = f"{self.classes[wrong.argmax()]} ({wrong.max()})"
            rows.append([name, str(total), f"{recall[label]:.1%}" if total else "-", taken])
        return rows

    def __repr__(self) -> str:
        pictures = f"{self.counts.sum():,} pictures"
        return f"{self.table()}\naccuracy {self.accuracy:.2%} of {pictures}"

    def _repr_html_(self) -> str:
        caption = f"accuracy {self.accuracy:.2%} of {self.counts.sum():,} pictures"
        return text.html(self._rows(), caption)


@answering
def confusion_matrix(labels: Any, predictions: Any,
                     classes: Sequence[str] | int | None = None) -> ConfusionMatrix:
    """How often each class (row) was answered with each class (column).

    `labels` are class numbers (N,); `predictions` class numbers (N,), or scores (N, K),
    whose largest counts. `classes` are their names, or how many there are. TypeError or
    ValueError if one is not what this says.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], ["cat", "dog"]).counts.tolist()
    [[1, 1], [0, 1]]
    """
    true = _numbers("labels", labels)
    scores = to_numpy(as_labels(predictions))
    found = _numbers("predictions", predictions)
    given = to_numpy(as_labels(labels))
    if scores.ndim == 1 and given.ndim == 2 and not np.isin(given, (0, 1)).all():
        raise TypeError("it is confusion_matrix(labels, predictions), with the arguments "
                        "in this order: the first are scores, the second class numbers")
    if len(true) != len(found):
        raise ValueError("labels and predictions must be of one length, got "
                         f"{len(true)} and "
                         f"{len(found)}")
    if not len(true):
        raise ValueError("labels must hold at least one picture's, got none")
    names = _names(classes, max(int(true.max()), int(found.max())) + 1, scores)
    check_range("labels", true, len(names), f"There are {len(names)} classes.")
    check_range("predictions", found, len(names), f"There are {len(names)} classes.")
    places = len(names) * true.astype(np.int64) + found
    counts = np.bincount(places, minlength=len(names) ** 2)
    return ConfusionMatrix(counts.reshape(len(names), len(names)), names)


def _numbers(what: str, values: Any) -> HostArray:
    """Class numbers (N,)."""
    plain = np.asarray(values) if isinstance(values, list | tuple) else values
    if getattr(plain, "dtype", np.dtype(int)).kind in "USO":
        raise TypeError(f"{what} must be class numbers 0, 1, 2 ..., got texts: "
                        "np.unique(labels, return_inverse=True) numbers them")
    given: HostArray = to_numpy(as_labels(plain))
    found = class_numbers(given)
    if given.ndim not in (1, 2) or found.ndim != 1:
        raise ValueError(f"{what} must be class numbers (N,) or scores (N, K), got "
                         "shape "
                         f"{given.shape}")
    if found.dtype.kind not in "ui":
        raise TypeError(f"{what} must be class numbers 0, 1, 2 ..., got {found.dtype}: "
                        f"{what}.astype(int) if that is what they are, "
                        ".argmax(axis=1) of scores")
    return found


def _names(classes: Sequence[str] | int | None, least: int,
           scores: HostArray) -> Sequence[str]:
    if classes is None:
        least = max(least, scores.shape[1] if scores.ndim == 2 else 0)
        return [str(i) for i in range(least)]
    if isinstance(classes, str):
        raise TypeError("classes must be a list of names, or their number, got "
                        f"{classes!r}")
    if isinstance(classes, Sequence):
        return classes
    return [str(i) for i in range(check_whole("classes", classes))]


def surest_mistakes(labels: Any, probabilities: Any, n: int = 20) -> HostArray:
    """The places of at most `n` wrong answers, the most probable one first.

    `probabilities` (N, K) are those of ``classifier.probabilities``, or the softmax of
    scores. Look at their pictures first: wrong labels are found there, too.

    >>> surest_mistakes([0, 1, 1], [[0.4, 0.6], [0.9, 0.1], [0.2, 0.8]]).tolist()
    [1, 0]
    """
    true = _numbers("labels", labels)
    found = to_numpy(as_labels(probabilities))
    if found.ndim != 2 or len(found) != len(true):
        raise ValueError("probabilities must have a row for each of the "
                         f"{len(true)} labels, got shape {found.shape}")
    answers = found.argmax(axis=1)
    wrong = np.flatnonzero(answers != true)
    sure = found[wrong, answers[wrong]]
    return wrong[np.argsort(-sure, kind="stable")][: check_whole("n", n)]
