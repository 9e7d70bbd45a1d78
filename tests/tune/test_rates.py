"""Loss curves of several learning rates get the lecture's four labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinynet.tune import label_rates


def test_A21_labels_of_the_lectures_four_curves() -> None:
    t = np.arange(200)
    curves = {
        0.001: list(2.3 - 0.004 * t),
        0.01: list(0.2 + 2.1 * np.exp(-t / 30)),
        0.1: list(0.9 + 1.4 * np.exp(-t / 10)),
        1.0: list(2.3 * np.exp(t / 50)),
    }
    wanted = {0.001: "low", 0.01: "good", 0.1: "high", 1.0: "very high"}
    assert label_rates(curves) == wanted
    assert label_rates(dict(reversed(curves.items()))) == wanted  # in any order
    curves[1.0] = [2.3, 1e9, math.inf]  # stopped early
    assert label_rates(curves) == wanted
    curves[0.02] = list(0.25 + 2.05 * np.exp(-t / 30))  # as good, but for 2 %
    assert label_rates(curves)[0.02] == "good"
    assert label_rates(curves, near=0.01)[0.02] == "high"


def test_what_cannot_be_compared() -> None:
    assert label_rates({0.1: [1.0, 1.0]}) == {0.1: "very high"}  # it learned nothing
    assert label_rates({0.1: [1.0, math.nan], 0.2: [1.0, 2.0]}) == dict.fromkeys(
        (0.1, 0.2), "very high")
    with pytest.raises(ValueError, match="at least one learning rate, and each at least one loss"):
        label_rates({0.1: []})
    with pytest.raises(ValueError, match="at least one learning rate"):
        label_rates({})
