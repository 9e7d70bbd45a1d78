"""The confusion matrix against a count by hand, and what is no class number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.train import confusion_matrix, surest_mistakes

LABELS = [0, 0, 1, 2, 2, 2]
ANSWERS = [0, 1, 1, 2, 0, 0]


def test_rows_are_true_classes_and_columns_answers() -> None:
    matrix = confusion_matrix(LABELS, ANSWERS, ["ant", "bee", "cat"])
    expected = np.zeros((3, 3), int)
    for label, answer in zip(LABELS, ANSWERS, strict=True):
        expected[label, answer] += 1
    np.testing.assert_array_equal(matrix.counts, expected)
    np.testing.assert_array_equal(np.asarray(matrix), expected)
    assert matrix[2, 0] == 2 and matrix.shape == (3, 3) and len(matrix) == 3
    assert matrix.accuracy == 0.5
    np.testing.assert_allclose(matrix.recall(), [0.5, 1.0, 1 / 3])
    np.testing.assert_allclose(matrix.precision(), [1 / 3, 0.5, 1.0])
    assert repr(matrix).splitlines() == [
        "class  pictures   right  most often taken for",
        "ant           2   50.0%  bee (1)",
        "bee           1  100.0%  -",
        "cat           3   33.3%  ant (2)",
        "accuracy 50.00% of 6 pictures"]
    assert "<td>ant (2)</td>" in matrix._repr_html_()


def test_scores_tensors_and_missing_classes_are_understood() -> None:
    scores = np.eye(4)[ANSWERS]
    for given in (scores, tn.tensor(scores), scores.tolist()):
        assert confusion_matrix(tn.tensor(LABELS), given).shape == (4, 4)
    matrix = confusion_matrix(LABELS, ANSWERS, 5)
    assert matrix.shape == (5, 5) and np.isnan(matrix.recall()[3:]).all()
    assert repr(matrix).splitlines()[4].split() == ["3", "0", "-", "-"]


@pytest.mark.parametrize("labels, answers, classes, error, message", [
    (LABELS, ANSWERS[:-1], None, ValueError, "must be of one length, got 6 and 5"),
    (LABELS, np.array(ANSWERS) / 2, None, TypeError, "predictions must be class numbers"),
    (["a"], [0], None, TypeError, "got texts: np.unique"),
    ([0, -1], [0, 0], None, ValueError, "labels must lie in"),
    (LABELS, ANSWERS, ["a", "b"], ValueError, "There are 2 classes"),
    (LABELS, ANSWERS, "abc", TypeError, "classes must be a list of names"),
    (np.zeros((2, 2, 2), int), [0, 0], None, ValueError, r"got shape \(2, 2, 2\)"),
    (np.zeros(0, int), np.zeros(0, int), None, ValueError, "at least one picture's, got none"),
])
def test_what_cannot_be_counted_is_refused(labels: Any, answers: Any, classes: Any,
                                           error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        confusion_matrix(labels, answers, classes)


def test_surest_mistakes_come_in_the_order_of_their_probability() -> None:
    sure = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.05, 0.95]])
    assert surest_mistakes([1, 1, 1, 0], sure).tolist() == [3, 0, 2]
    assert surest_mistakes([1, 1, 1, 0], sure, 1).tolist() == [3]
    assert surest_mistakes([0, 1, 0, 1], sure).tolist() == []
    with pytest.raises(ValueError, match="a row for each of the 2 labels, got shape"):
        surest_mistakes([0, 1], sure)
