"""The numbers behind figures 19, 20, 24 and 26: what is switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Numbers = Callable[[int], dict[str, Any]]


def test_E4_half_of_the_neurons_are_off_and_none_at_test(numbers: Numbers) -> None:
    found = numbers(19)
    assert all(0 < on < of for on, of in zip(found["on"], found["of"], strict=True))
    assert found["share on"] == pytest.approx(0.5, abs=4 * 0.5 / 100)
    assert all(row == [1.0] * len(row) for row in found["at test"])


def test_E5_the_mean_of_all_masks_is_the_scaled_net(numbers: Numbers) -> None:
    found = numbers(20)
    assert found["answers"] == [31, 10, 21, 0]
    assert found["mean"] == found["at test"] == 15.5
    assert found["sampled"] == pytest.approx(15.5, abs=4 * np.std(found["answers"]) / 200**0.5)


def test_G1_half_of_the_connections_are_off_and_none_at_test(numbers: Numbers) -> None:
    found = numbers(24)
    assert all(0 < on < of for on, of in zip(found["connected"], found["of"], strict=True))
    assert found["share on"] == pytest.approx(0.5, abs=4 * 0.5 / 100)
    assert found["at test"] == found["of"]


def test_G3_later_blocks_are_skipped_more_often_and_none_at_test(numbers: Numbers) -> None:
    found = numbers(26)
    kept = np.array(found["kept"])
    assert kept == pytest.approx(1 - np.arange(1, 10) / 9 * 0.5)
    noise = np.sqrt(kept * (1 - kept) / found["passes"])
    assert (np.abs(found["share"] - kept) < 4 * noise).all()
    assert found["at test"] == [1] * 9
