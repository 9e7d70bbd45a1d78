"""The numbers behind figures 1 to 7: descent, noise, momentum, arrows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Numbers = Callable[[int], dict[str, Any]]


def test_A2_the_drawn_path_goes_against_the_gradient_into_the_pit(numbers: Numbers) -> None:
    found = numbers(1)
    assert found["distance"] < 1e-3
    assert found["first step over gradient"] < 1e-15
    assert found["falls at every step"]


def test_A3_the_valley_is_crossed_at_every_step(numbers: Numbers) -> None:
    found = numbers(2)
    assert found["condition"] == pytest.approx(20)
    assert found["turns"] == found["steps"]
    assert 0.01 < found["left along the flat axis"] < 0.1


def test_A4_A5_at_one_rate_momentum_leaves_the_saddle_and_the_well(numbers: Numbers) -> None:
    found = numbers(3)
    assert found["saddle, gradient descent"] == 349
    assert found["saddle, momentum 0.9"] == 72
    assert found["well, gradient descent"] == pytest.approx(0.9143, abs=1e-4)
    assert found["well, momentum 0.9"] == pytest.approx(-1.0679, abs=1e-4)


def test_A6_mini_batches_make_the_path_turn(numbers: Numbers) -> None:
    found = numbers(4)
    assert found["full gradient"] < 20 < 60 < found["mini-batches of 2"]


def test_A9_momentum_is_smoother_and_farther_at_the_same_rate(numbers: Numbers) -> None:
    found = numbers(5)
    plain, heavy = found["angle"].values()
    assert heavy < 0.5 * plain
    far, near = found["distance"].values()
    assert near < 0.3 * far


@pytest.mark.parametrize("number", [pytest.param(6, marks=pytest.mark.lecture("A8")),
                                    pytest.param(7, marks=pytest.mark.lecture("A10"))])
def test_the_arrows_close(numbers: Numbers, number: int) -> None:
    """Velocity and gradient, by their formulas, add up to the step that the optimizer made."""
    found = numbers(number)
    assert found["closing error"] < 1e-14
    assert np.linalg.norm(found["velocity"]) > 2 * np.linalg.norm(found["gradient"]) > 0.05
