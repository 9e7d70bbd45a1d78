"""The table of deliberate choices in README.md: a test for each row, and a row for each test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import leaf
from tinynet import Tensor, functional as F, grad
from tinynet.backend import xp

README = Path(__file__).parent.parent / "README.md"


def slope(f: Any, *at: float) -> list[float]:
    x = leaf(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: list[float] = grad(tn.sum(f(x)), x).tolist()
    return found


def test_maximum_does_not_hide_the_infinite_slope_of_the_root() -> None:
    assert math.isnan(slope(lambda x: tn.maximum(tn.sqrt(x), 1.0), 0.0)[0])
    assert slope(lambda x: tn.sqrt(tn.maximum(x, 1.0)), 0.0) == [0.0]


def test_where_differentiates_the_unused_branch() -> None:
    assert math.isnan(slope(lambda x: tn.where(x > 0, tn.log(x), 0.0), 0.0)[0])
    assert slope(lambda x: tn.log(tn.where(x > 0, x, 1.0)), 0.0) == [0.0]


def test_norm_squares_what_it_is_given() -> None:
    with np.errstate(over="ignore"):
        assert tn.norm(Tensor([1e30])).item() == math.inf
    assert tn.norm(Tensor([300.0, 400.0], dtype="float16")).item() == 500.0


def test_norm_and_std_have_slope_0_at_0() -> None:
    assert slope(tn.norm, 0.0, 0.0) == slope(tn.std, 2.0, 2.0) == [0.0, 0.0]


def test_softmax_of_minus_infinity_alone_is_not_defined() -> None:
    with np.errstate(invalid="ignore"):
        assert math.isnan(F.softmax(Tensor([-math.inf, -math.inf])).tolist()[0])
    assert slope(tn.logsumexp, -math.inf, -math.inf) == [0.0, 0.0]


def test_equal_elements_share_the_slope_of_an_extreme() -> None:
    assert slope(tn.max, 1.0, 1.0) == slope(tn.min, 1.0, 1.0) == [0.5, 0.5]
    assert slope(lambda x: tn.maximum(x, 1.0), 1.0) == [0.5]


def test_relu_and_abs_have_slope_0_at_0() -> None:
    assert slope(F.relu, 0.0) == slope(tn.abs, 0.0) == [0.0]


def test_zero_times_the_log_of_zero_is_0_in_losses() -> None:
    logits = Tensor([[-math.inf, 0.0]])
    assert F.cross_entropy(logits, Tensor([[0.0, 1.0]])).item() == 0.0
    assert F.cross_entropy(logits, [0], [0.0, 1.0], reduction="sum").item() == 0.0


def test_activations_have_their_limits_at_infinity() -> None:
    for f in (F.silu, F.gelu, lambda x: F.leaky_relu(x, 0.0)):
        assert f(Tensor([-math.inf, math.inf])).tolist() == [0.0, math.inf]


def test_float16_is_computed_in_float32_and_rounded_once() -> None:
    assert tn.mean(Tensor(xp.full(70_000, 0.5, "float16"))).item() == 0.5


def test_integers_in_calculus_become_the_default_float() -> None:
    for f in (tn.exp, tn.mean, tn.sigmoid):
        assert f(Tensor(xp.asarray([1, 2], "uint8"))).dtype == "float32"


def test_integer_arithmetic_wraps_and_integer_sums_do_not() -> None:
    x = Tensor(xp.asarray([200, 100], "uint8"))
    assert (x + x).tolist() == [144, 200]
    assert tn.sum(x).item() == 300 and tn.prod(x).item() == 20_000


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="its mask would be forgotten"):
        Tensor(np.ma.masked_array([1.0], [True]))


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert tn.median(Tensor([1.0, 2.0, 4.0, 9.0])).item() == 3.0


def test_each_row_of_the_table_has_a_test() -> None:
    section = README.read_text(encoding="utf-8").split("## Deliberate choices")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    tests = [name for name in globals() if name.startswith("test_")]
    assert len(rows) == len(tests) - 1
