"""The pictures of answers: drawn, returned, and refused where they would mislead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinynet import train, viz

IMAGES = np.zeros((3, 1, 6, 6), np.uint8)
CHANCES = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])


def test_predictions_name_the_best_two_classes_and_what_a_picture_is(tmp_path: Path) -> None:
    figure = viz.plot_predictions(IMAGES, CHANCES, ["ant", "bee"], tmp_path / "a" / "x.png",
                                  labels=[0, 0, 0], columns=2, title="Answers")
    assert (tmp_path / "a" / "x.png").stat().st_size > 1000
    panels = figure.axes
    assert [panel.get_title() for panel in panels[:3]] == ["ant 90%", "bee 60%", "ant 50%"]
    assert [panel.texts[0].get_text() for panel in panels[:3]] == [
        "bee 10%", "is ant 40%", "bee 50%"]
    plain = viz.plot_predictions(IMAGES, CHANCES, ["ant", "bee"])
    assert plain.axes[1].texts[0].get_text() == "ant 40%"


def test_wrong_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\), got shape \(3, 1\)"):
        viz.plot_predictions(IMAGES, CHANCES[:, :1], ["ant", "bee"])
    with pytest.raises(ValueError, match=r"of scores take F\.softmax"):
        viz.plot_predictions(IMAGES, 9 * CHANCES, ["ant", "bee"])
    with pytest.raises(ValueError, match="1 to 200 pictures for one figure, got 0"):
        viz.plot_predictions(IMAGES[:0], CHANCES[:0], ["ant", "bee"])


def test_the_confusion_matrix_says_each_count(tmp_path: Path) -> None:
    matrix = train.confusion_matrix([0, 0, 1], [0, 1, 1], ["ant", "bee"])
    figure = viz.plot_confusion(matrix, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text(encoding="utf-8").startswith("<?xml")
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.texts] == ["1", "1", "1"]
    assert panel.get_title(loc="left") == "66.7% of 3 right"
    with pytest.raises(TypeError, match=r"matrix must be a train\.confusion"):
        viz.plot_confusion(np.eye(2))  # type: ignore[arg-type]


def test_a_figure_shows_itself_in_a_notebook() -> None:
    figure = viz.plot_schedule(lambda t: 0.1, 5)
    assert figure._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]
