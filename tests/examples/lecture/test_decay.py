"""The numbers behind figures 8 to 14: learning rates and their decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lecture import decay, nets

from tinynet.optim.schedule import step_decay, warmup

Numbers = Callable[[int], dict[str, Any]]


def test_A21_the_rule_names_the_four_curves(numbers: Numbers) -> None:
    found = numbers(8)
    assert found["labels"] == decay.RATES
    assert found["starts"][0.6] < 1.2 * found["starts"][0.1]  # high: as quick at first
    assert found["ends"][0.1] < 0.5 * found["ends"][0.6]
    assert found["decayed"] < 0.3 * found["ends"][0.6]  # start high, then decay


def test_B1_the_staircase(numbers: Numbers) -> None:
    found = numbers(9)
    assert found["rates"] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.0001])
    before, after = found["around epoch 30"]
    assert after < before
    assert found["stages"][0] > 1.5 * found["stages"][1]


def test_B3_under_a_cosine_the_loss_falls_to_the_end(numbers: Numbers) -> None:
    thirds = numbers(11)["thirds"]
    assert thirds[0] > thirds[1] > thirds[2] > 0


def test_B2_cosine(numbers: Numbers) -> None:
    assert list(numbers(10)["rates"].values()) == \
        pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_B4_linear(numbers: Numbers) -> None:
    assert list(numbers(12)["rates"].values()) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_B5_inverse_root(numbers: Numbers) -> None:
    assert numbers(13)["first steps"] == pytest.approx([1, 0.5, 0.1])


def test_B1_the_loss_drops_after_each_milestone() -> None:
    """Noise keeps the loss at a height proportional to lr, so each drop of lr shows."""
    steps = 4000
    run = nets.run_line(step_decay(0.1, every=steps // 4), 0, steps)
    stages = np.reshape(run, (4, -1))[:, steps // 16:].mean(axis=1)
    assert stages[0] > 5 * stages[1] > 5 * 2 * stages[2] and stages[2] > stages[3]


@pytest.mark.parametrize("number", [10, 12, 13])
def test_decay_ends_nearer_the_truth_than_a_constant_rate(numbers: Numbers, number: int) -> None:
    ends = numbers(number)["ends"]
    assert ends["decayed"] < ends["constant"] / 4


def test_B6_only_the_warmed_up_net_learns(numbers: Numbers) -> None:
    found = numbers(14)
    assert found["rates"] == pytest.approx([0.45 / 5000, 0.225, 0.45, 0.45])
    assert found["explodes"] and found["steps without"] < 100
    assert found["warm"] < 1e-2


@pytest.mark.parametrize("seed", range(1, 4))
def test_B6_warm_up_saves_a_run_that_explodes(seed: int) -> None:
    assert not math.isfinite(nets.run_deep(0.45, seed)[-1])
    assert nets.run_deep(warmup(0.45, 200), seed)[-1] < 1e-2
