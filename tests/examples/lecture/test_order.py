"""The numbers behind figures 15 and 16: the tangent and the parabola."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Numbers = Callable[[int], dict[str, Any]]


def test_C1_the_tangent_promises_more_than_the_step_gives(numbers: Numbers) -> None:
    found = numbers(15)
    assert found["error grows as step to the"] == pytest.approx(2, abs=0.01)
    assert found["hoped"] < found["loss there"] < found["loss here"]


def test_C2_the_step_goes_to_the_minimum_of_the_parabola(numbers: Numbers) -> None:
    found = numbers(16)
    assert found["error grows as step to the"] == pytest.approx(3, abs=0.01)
    assert found["slope of the model there"] == pytest.approx(0, abs=1e-6)
    assert found["loss there"] < found["loss here"]


def test_C3_the_parabola_is_nearer_to_the_loss_than_the_tangent(numbers: Numbers) -> None:
    errors = [abs(numbers(n)["hoped"] - numbers(n)["loss there"]) for n in (15, 16)]
    assert errors[1] < 0.5 * errors[0]
