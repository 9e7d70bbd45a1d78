"""The numbers behind figures 17, 18 and 30: unseen data, when to stop, snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lecture import unseen

Numbers = Callable[[int], dict[str, Any]]


def test_D1_the_loss_falls_and_both_accuracies_are_kept(numbers: Numbers) -> None:
    found = numbers(17)
    assert found["loss"][1] < found["loss"][0]
    assert len(found["train"]) == len(found["val"]) == 3
    assert found["best"] == max(found["val"])


def test_D2_validation_falls_while_training_rises(numbers: Numbers) -> None:
    found = numbers(18)
    assert found["train"][1] > found["train"][0] + 0.05
    assert found["last"] < found["best accuracy"] - 0.03
    assert found["val_loss"][1] > found["val_loss"][0]


def test_D2_the_kept_weights_are_those_of_the_best_epoch(numbers: Numbers) -> None:
    found = numbers(18)
    assert found["kept"] == found["kept when stopped"] == found["best accuracy"]
    assert found["stopped at"] == found["best"] + unseen.PATIENCE


def test_D4_every_cycle_ends_in_a_minimum_and_most_in_another(numbers: Numbers) -> None:
    found = numbers(30)
    peak = unseen.PEAK
    t = np.array([0, unseen.STEPS // 2, unseen.STEPS - 1, unseen.STEPS])
    expected = peak / 2 * (np.cos(np.pi * (t % unseen.STEPS) / unseen.STEPS) + 1)
    assert found["rates"] == pytest.approx(expected)
    assert found["minima"] >= 3
    assert found["away from a minimum"] < 0.2  # of the way to the next
